#include "mocker/simulated_runner.h"

#include <fmt/format.h>

#include <deque>

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

  uint32_t depth() const override { return options_.depth; }

  Status begin(const kernels::Step& step) override {
    CHECK(under_way_.size() < options_.depth);
    const double time = static_cast<double>(step_time(options_.profile, step.paged).count()) / options_.speedup;
    Begun begun{.time = std::chrono::nanoseconds(static_cast<int64_t>(time)), .gets_on = step.gets_on, .drawn = {}};
    begun.drawn.reserve(step.draws.size());
    for (const kernels::Draw& draw : step.draws) begun.drawn.emplace_back(token_for(draw));
    under_way_.push_back(std::move(begun));
    return {};
  }

  Result<std::vector<Result<DrawnToken>>> finish() override {
    CHECK(!under_way_.empty());
    Begun begun = std::move(under_way_.front());
    under_way_.pop_front();
    for (auto left = begun.time; left.count() > 0; left -= kPart) {
      sleep_(std::min(left, kPart));
      if (begun.gets_on) begun.gets_on();
    }
    return std::move(begun.drawn);
  }

 private:
  struct Begun {
    std::chrono::nanoseconds time;
    std::function<void()> gets_on;
    std::vector<Result<DrawnToken>> drawn;
  };

  // Of the whole sequence's length and two tokens of its prompt: cheap, and the same wherever it is computed.
  DrawnToken token_for(const kernels::Draw& draw) const {
    const uint64_t size = draw.prompt.size() + draw.index;
    const uint64_t seed = size * 0x9E3779B97F4A7C15ULL + draw.prompt.front() + (uint64_t{draw.prompt.back()} << 20);
    const uint32_t range = options_.last_token - options_.first_token;
    DrawnToken token;
    token.token = options_.first_token + static_cast<uint32_t>(mix(seed) % range);
    if (draw.logprobs) token.logprobs.drawn = {token.token, 0.0F};
    return token;
  }

  SimulationOptions options_;
  std::function<void(std::chrono::nanoseconds)> sleep_;
  std::deque<Begun> under_way_;
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

std::chrono::nanoseconds step_time(const CostProfile& profile, const kernels::PagedBatch& batch) {
  double milliseconds = profile.base;
  for (const auto& sequence : batch.sequences) {
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
  CHECK(options.speedup > 0 && options.depth > 0 && options.first_token < options.last_token);
  return std::make_unique<SimulatedRunner>(options, std::move(sleep));
}

}  // namespace dynamo::mocker
