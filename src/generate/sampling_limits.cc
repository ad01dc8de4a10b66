#include "generate/sampling_limits.h"

#include <algorithm>

#include <fmt/format.h>

namespace dynamo {
namespace {

struct Limit {
  const char* name;
  float SamplingParams::* field;
  float least;
  float most;
};

// Logits are of the order of 100: divided by the least repetition penalty they are far from what a float holds, and still differ.
constexpr Limit kLimits[] = {
    {"temperature", &SamplingParams::temperature, 0, 100},
    {"top_p", &SamplingParams::top_p, 1e-6F, 1},
    {"min_p", &SamplingParams::min_p, 0, 1},
    {"repetition_penalty", &SamplingParams::repetition_penalty, 1e-4F, 2},
    {"presence_penalty", &SamplingParams::presence_penalty, -2, 2},
    {"frequency_penalty", &SamplingParams::frequency_penalty, -2, 2},
};
constexpr float kMostBias = 100;  // either way

Status check_range(std::string_view name, float value, float least, float most) {
  if (value >= least && value <= most) return {};
  return invalid(fmt::format("{} is {}; it must be in [{}, {}]", name, value, least, most));
}

}  // namespace

void clamp_to_limits(SamplingParams* sampling) {
  for (const Limit& limit : kLimits) {
    float& value = sampling->*limit.field;
    if (value < limit.least) value = limit.least;
    if (value > limit.most) value = limit.most;
  }
  sampling->top_k = std::max(sampling->top_k, 0);
}

Status check_limits(const SamplingParams& sampling) {
  for (const Limit& limit : kLimits)
    TRY_STATUS(check_range(limit.name, sampling.*limit.field, limit.least, limit.most));
  if (sampling.top_k < 0) return invalid(fmt::format("top_k is {}; it must be at least 0", sampling.top_k));
  for (const auto& [token, bias] : sampling.logit_bias)
    TRY_STATUS(check_range(fmt::format("logit_bias.{}", token), bias, -kMostBias, kMostBias));
  return {};
}

}  // namespace dynamo
