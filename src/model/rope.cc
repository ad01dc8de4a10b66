#include "model/rope.h"

#include <cmath>
#include <numbers>

#include "base/check.h"

namespace dynamo::model {
namespace {

// Waves shorter than the original context hold stay as they are, longer ones are stretched by `factor`, and those
// between are blended.
double stretch(double frequency, const RopeScaling& scaling) {
  const double turns = scaling.original_context * frequency / (2 * std::numbers::pi);  // in the original context
  if (turns < scaling.low_frequency_factor) return frequency / scaling.factor;
  if (turns >= scaling.high_frequency_factor) return frequency;
  const double kept =
      (turns - scaling.low_frequency_factor) / (scaling.high_frequency_factor - scaling.low_frequency_factor);
  return (1 - kept) * frequency / scaling.factor + kept * frequency;
}

}  // namespace

std::vector<double> rope_frequencies(const ModelConfig& config) {
  CHECK(config.head_dim % 2 == 0);
  const uint32_t pairs = config.head_dim / 2;
  CHECK(config.rope_factors.empty() || config.rope_factors.size() == pairs);
  std::vector<double> frequencies(pairs);
  for (uint32_t pair = 0; pair < pairs; ++pair) {
    double frequency = std::pow(static_cast<double>(config.rope_base), -2.0 * pair / config.head_dim);
    if (!config.rope_factors.empty()) {
      frequency /= config.rope_factors[pair];
    } else if (config.rope_scaling) {
      frequency = stretch(frequency, *config.rope_scaling);
    }
    frequencies[pair] = frequency;
  }
  return frequencies;
}

void rope_angles(std::span<const double> frequencies, uint32_t position, std::span<float> cosines,
                 std::span<float> sines) {
  CHECK(cosines.size() == frequencies.size() && sines.size() == frequencies.size());
  for (size_t pair = 0; pair < frequencies.size(); ++pair) {
    const double angle = position * frequencies[pair];
    cosines[pair] = static_cast<float>(std::cos(angle));
    sines[pair] = static_cast<float>(std::sin(angle));
  }
}

}  // namespace dynamo::model
