#include "mocker/simulated_runner.h"

#include <gtest/gtest.h>

namespace dynamo::mocker {
namespace {

constexpr CostProfile kProfile{
    .base = 1, .prefill_token = 0.1, .prefill_pair = 1000, .decode_sequence = 2, .decode_token = 4};

engine::StepInput step(std::vector<kernels::PagedBatch::Sequence> sequences) {
  engine::StepInput input;
  input.paged.sequences = std::move(sequences);
  return input;
}

double milliseconds(const engine::StepInput& input) {
  return std::chrono::duration<double, std::milli>(step_time(kProfile, input)).count();
}

TEST(StepTime, IsLinearInTheWorkAndQuadraticInAPrompt) {
  EXPECT_DOUBLE_EQ(milliseconds(step({})), 1);
  // Two sequences decode over 500 and 1500 cached tokens.
  EXPECT_DOUBLE_EQ(milliseconds(step({{.rows = 1, .length = 500}, {.rows = 1, .length = 1500}})), 1 + 2 * 2 + 4 * 2.0);
  // 10 tokens of a prompt: 1 + 2 + ... + 10 pairs.
  EXPECT_NEAR(milliseconds(step({{.rows = 10, .length = 10}})), 1 + 1 + 0.055, 1e-5);
  // Cut in two chunks it is the same, but for the base.
  const double parts = milliseconds(step({{.rows = 4, .length = 4}})) + milliseconds(step({{.rows = 6, .length = 10}}));
  EXPECT_NEAR(parts - 1, milliseconds(step({{.rows = 10, .length = 10}})), 1e-5);
}

TEST(SimulatedRunner, SleepsTheTimeByTheSpeedupAndDrawsWithinItsRange) {
  std::chrono::nanoseconds slept{};
  const auto runner = make_simulated_runner({.profile = kProfile, .speedup = 10, .first_token = 100, .last_token = 200},
                                            [&](std::chrono::nanoseconds time) { slept += time; });
  const std::vector<TokenId> prompt = {1, 2, 3};
  engine::StepInput input = step({{.rows = 3, .length = 3}});
  engine::SampleInput sample;
  sample.row = 2;
  sample.prompt = prompt;
  input.samples.push_back(sample);
  const auto drawn = runner->run(input);
  ASSERT_TRUE(drawn.is_ok());
  ASSERT_EQ(drawn->size(), 1U);
  EXPECT_GE(drawn->at(0)->token, 100U);
  EXPECT_LT(drawn->at(0)->token, 200U);
  EXPECT_EQ(slept.count(), step_time(kProfile, input).count() / 10);
  EXPECT_EQ(runner->run(input)->at(0)->token, drawn->at(0)->token);
}

TEST(CostProfile, IsReadAndWhatIsWrongIsNamed) {
  const auto read = profile_from_json(R"({"base": 7.5, "decode_token": 0})");
  ASSERT_TRUE(read.is_ok());
  EXPECT_EQ(read->base, 7.5);
  EXPECT_EQ(read->decode_token, 0);
  EXPECT_EQ(read->prefill_token, CostProfile().prefill_token);
  for (const auto& [text, named] : std::vector<std::pair<std::string, std::string>>{{"3", "object"},
                                                                                    {"{", "object"},
                                                                                    {R"({"bass": 1})", "bass"},
                                                                                    {R"({"base": -1})", "base"},
                                                                                    {R"({"base": "x"})", "base"}}) {
    const auto wrong = profile_from_json(text);
    EXPECT_EQ(wrong.status().code(), Code::kInvalid);
    EXPECT_NE(wrong.status().text().find(named), std::string::npos);
  }
}

}  // namespace
}  // namespace dynamo::mocker
