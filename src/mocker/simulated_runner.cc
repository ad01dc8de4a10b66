#include "mocker/simulated_runner.h"

#include <fmt/format.h>

#include "json/object_reader.h"
#include "json/parse.h"

namespace dynamo::mocker {
namespace {

constexpr std::chrono::nanoseconds kPart = std::chrono::milliseconds(100);  // of a long step

uint64_t mix(uint64_t value) {
  value = (value ^ (value >> 31)) * 0x7FB5D329728EA185ULL;
  return value ^ (value >> 27);
}

class SimulatedRunner final : public engine::StepRunner {
 public:
  SimulatedRunner(SimulationOptions options, std::function<void(std::chrono::nanoseconds)> sleep)
      : options_(options), sleep_(std::move(sleep)) {}

  Result<std::vector<Result<engine::DrawnToken>>> run(const engine::StepInput& input) override {
    const auto time = static_cast<double>(step_time(options_.profile, input).count()) / options_.speedup;
    for (auto left = std::chrono::nanoseconds(static_cast<int64_t>(time)); left.count() > 0; left -= kPart) {
      sleep_(std::min(left, kPart));
      if (input.gets_on) input.gets_on();
    }
    std::vector<Result<engine::DrawnToken>> drawn;
    for (const engine::SampleInput& sample : input.samples) {
      // Of the whole prompt's length and a few of its tokens: cheap, and the same wherever the sequence is computed.
      const uint64_t size = sample.prompt.size() + sample.output.size();
      const uint64_t seed =
          size * 0x9E3779B97F4A7C15ULL + sample.prompt.front() + (uint64_t{sample.prompt.back()} << 20);
      const uint32_t range = options_.last_token - options_.first_token;
      engine::DrawnToken token;
      token.token = options_.first_token + static_cast<uint32_t>(mix(seed) % range);
      if (sample.logprobs) token.logprobs.drawn = {token.token, 0.0F};
      drawn.emplace_back(std::move(token));
    }
    return drawn;
  }

 private:
  SimulationOptions options_;
  std::function<void(std::chrono::nanoseconds)> sleep_;
};

}  // namespace

Result<CostProfile> profile_from_json(std::string_view text) {
  const auto document = json::parse_object(text);
  if (!document.is_ok()) return invalid("a cost profile is a JSON object: " + document.status().text());
  json::FirstProblem problem;
  json::ObjectReader members(document->get_object(), "", &problem);
  const auto milliseconds = [&](const char* name, double* cost) {
    *cost = members.number(name, 0, 1e9).value_or(*cost);
  };
  CostProfile profile;
  milliseconds("base", &profile.base);
  milliseconds("prefill_token", &profile.prefill_token);
  milliseconds("prefill_pair", &profile.prefill_pair);
  milliseconds("decode_sequence", &profile.decode_sequence);
  milliseconds("decode_token", &profile.decode_token);
  members.refuse_unknown(
      "a cost profile has no such field; it has base, prefill_token, prefill_pair, decode_sequence and decode_token");
  if (problem.has_value()) return invalid("milliseconds of a cost profile: " + json::to_text(*problem));
  return profile;
}

std::chrono::nanoseconds step_time(const CostProfile& profile, const engine::StepInput& input) {
  double milliseconds = profile.base;
  for (const auto& sequence : input.paged.sequences) {
    if (sequence.rows == 1) {
      milliseconds += profile.decode_sequence + profile.decode_token * sequence.length / 1e3;
      continue;
    }
    // Row i of the chunk looks at all tokens before it and at itself.
    const double first = sequence.length - sequence.rows + 1.0;
    const double pairs = sequence.rows * (first + sequence.length) / 2;
    milliseconds += profile.prefill_token * sequence.rows + profile.prefill_pair * pairs / 1e6;
  }
  return std::chrono::nanoseconds(static_cast<int64_t>(milliseconds * 1e6));
}

std::unique_ptr<engine::StepRunner> make_simulated_runner(SimulationOptions options,
                                                          std::function<void(std::chrono::nanoseconds)> sleep) {
  CHECK(options.speedup > 0 && options.first_token < options.last_token);
  return std::make_unique<SimulatedRunner>(options, std::move(sleep));
}

}  // namespace dynamo::mocker
