#include "mocker/simulated_runner.h"

#include <gtest/gtest.h>

namespace dynamo::mocker {
namespace {

constexpr CostProfile kProfile{
    .base = 1, .prefill_token = 0.1, .prefill_pair = 1000, .decode_sequence = 2, .decode_token = 4};

kernels::PagedBatch step(std::vector<kernels::PagedBatch::Sequence> sequences) {
  kernels::PagedBatch batch;
  batch.sequences = std::move(sequences);
  return batch;
}

double milliseconds(const kernels::PagedBatch& batch) {
  return std::chrono::duration<double, std::milli>(step_time(kProfile, batch)).count();
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

TEST(SimulatedRunner, SleepsTheTimeByTheSpeedupAndDrawsWithinItsRangeHoweverManyStepsAreUnderWay) {
  const std::vector<TokenId> prompt = {1, 2, 3};
  std::vector<TokenId> expected;
  for (const uint32_t depth : {1U, 2U, 3U}) {
    SCOPED_TRACE(depth);
    std::chrono::nanoseconds slept{};
    const auto runner = make_simulated_runner(
        {.profile = kProfile, .speedup = 10, .first_token = 100, .last_token = 200, .depth = depth},
        [&](std::chrono::nanoseconds time) { slept += time; });
    EXPECT_EQ(runner->depth(), depth);
    int signs = 0;
    std::vector<TokenId> tokens;
    std::chrono::nanoseconds device{};
    const auto finish = [&] {
      const auto drawn = runner->finish();
      ASSERT_TRUE(drawn.is_ok());
      ASSERT_EQ(drawn->size(), 1U);
      tokens.push_back(drawn->at(0)->token);
    };
    for (uint32_t index = 0; index < 6; ++index) {
      if (index >= depth) finish();
      kernels::Step input{
          .paged = step({{.rows = 3, .length = 3 + index}}), .tokens = {}, .draws = {}, .gets_on = [&] { ++signs; }};
      input.draws.push_back({.row = 2, .index = index, .prompt = prompt});
      ASSERT_TRUE(runner->begin(input).is_ok());
      device += step_time(kProfile, input.paged) / 10;
    }
    while (tokens.size() < 6) finish();
    for (const TokenId token : tokens) EXPECT_TRUE(token >= 100 && token < 200);
    EXPECT_EQ(slept, device);
    EXPECT_EQ(signs, 6);
    if (expected.empty()) expected = tokens;
    EXPECT_EQ(tokens, expected);
  }
  EXPECT_NE(expected[0], expected[1]);
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
