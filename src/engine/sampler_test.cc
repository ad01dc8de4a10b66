#include "engine/sampler.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numeric>
#include <random>
#include <set>

#include "engine/philox.h"

namespace dynamo::engine {
namespace {

class SamplerTest : public testing::Test {
 protected:
  TokenId draw(std::vector<float> logits, uint64_t seed = 1) {
    SampleInput input;
    input.sampling = &sampling_;
    input.seed = seed;
    input.prompt = prompt_;
    input.output = output_;
    input.masked = masked_;
    return sampler_.draw(logits, input).value().token;
  }
  // Tokens that some seed draws.
  std::set<TokenId> drawable(const std::vector<float>& logits) {
    std::set<TokenId> seen;
    for (uint64_t seed = 0; seed < 4000; ++seed) seen.insert(draw(logits, seed));
    return seen;
  }
  static std::vector<float> logits_of(std::vector<double> probabilities) {
    std::vector<float> logits;
    for (const double p : probabilities) logits.push_back(static_cast<float>(std::log(p)));
    return logits;
  }

  SamplingParams sampling_;
  std::vector<TokenId> prompt_;
  std::vector<TokenId> output_;
  std::vector<TokenId> masked_;
  Sampler sampler_;
};

TEST_F(SamplerTest, GreedyTakesTheLargestAndOfEqualOnesTheLowestId) {
  sampling_.temperature = 0;
  EXPECT_EQ(draw({1, 3, 2, 3}), 1u);
}

TEST_F(SamplerTest, DrawsFollowTheDistribution) {
  const std::vector<double> p = {0.5, 0.25, 0.15, 0.07, 0.03};
  constexpr int kDraws = 20000;
  std::vector<int> counts(p.size());
  for (uint64_t seed = 0; seed < kDraws; ++seed) ++counts[draw(logits_of(p), seed)];
  double chi_square = 0;
  for (size_t i = 0; i < p.size(); ++i) chi_square += std::pow(counts[i] - p[i] * kDraws, 2) / (p[i] * kDraws);
  EXPECT_LT(chi_square, 18.5);  // 4 degrees of freedom, p = 0.001
}

TEST_F(SamplerTest, TemperatureSharpens) {
  sampling_.temperature = 0.5;  // squares the odds
  int first = 0;
  for (uint64_t seed = 0; seed < 10000; ++seed) first += draw(logits_of({0.6, 0.4}), seed) == 0;
  EXPECT_NEAR(first / 10000.0, 0.36 / 0.52, 0.02);
}

TEST_F(SamplerTest, TopKTopPAndMinPKeepExactlyTheirTokens) {
  const auto logits = logits_of({0.1, 0.4, 0.2, 0.05, 0.25});
  sampling_.top_k = 2;
  EXPECT_EQ(drawable(logits), (std::set<TokenId>{1, 4}));
  sampling_.top_k = 0;
  sampling_.top_p = 0.66F;  // 0.4 + 0.25 is not enough
  EXPECT_EQ(drawable(logits), (std::set<TokenId>{1, 2, 4}));
  sampling_.top_p = 0.1F;
  EXPECT_EQ(drawable(logits), (std::set<TokenId>{1}));
  sampling_.top_p = 1;
  sampling_.min_p = 0.3F;  // at least 0.12
  EXPECT_EQ(drawable(logits), (std::set<TokenId>{1, 2, 4}));
}

TEST_F(SamplerTest, TopPOverALargeVocabularyIsThatOfASort) {
  std::mt19937 random(3);
  std::vector<float> logits(50000);
  for (float& logit : logits)
    logit = static_cast<float>(random() % 1000) / 250.0F;  // flat: the set is large, with many ties
  sampling_.top_p = 0.5F;
  std::vector<TokenId> order(logits.size());
  std::iota(order.begin(), order.end(), 0);
  std::ranges::stable_sort(order, [&](TokenId a, TokenId b) { return logits[a] > logits[b]; });
  double total = 0;
  for (const float logit : logits) total += std::exp(logit);
  std::set<TokenId> kept;
  double held = 0;
  for (const TokenId token : order) {
    if (held >= 0.5 * total) break;
    kept.insert(token);
    held += std::exp(logits[token]);
  }
  for (uint64_t seed = 0; seed < 200; ++seed) EXPECT_TRUE(kept.contains(draw(logits, seed)));
}

TEST_F(SamplerTest, PenaltiesBiasAndMaskChangeTheLogitsAsWritten) {
  sampling_.temperature = 0;
  prompt_ = {0};
  sampling_.repetition_penalty = 2;
  EXPECT_EQ(draw({3, 2, 1}), 1u);       // 3 / 2 < 2
  EXPECT_EQ(draw({-1, -1.5, -9}), 1u);  // -1 * 2 < -1.5
  sampling_.repetition_penalty = 1;
  sampling_.presence_penalty = 1.5;
  EXPECT_EQ(draw({3, 2, 1}), 0u);  // only the output counts
  output_ = {0};
  EXPECT_EQ(draw({3, 2, 1}), 1u);
  sampling_.presence_penalty = 0;
  sampling_.frequency_penalty = 0.6F;
  EXPECT_EQ(draw({3, 2, 1}), 0u);
  output_ = {0, 0};
  EXPECT_EQ(draw({3, 2, 1}), 1u);
  sampling_.frequency_penalty = 0;
  sampling_.logit_bias = {{2, 5.0F}};
  EXPECT_EQ(draw({3, 2, 1}), 2u);
  masked_ = {2};
  EXPECT_EQ(draw({3, 2, 1}), 0u);
}

TEST_F(SamplerTest, LogprobsAreThoseOfTheWholeDistribution) {
  sampling_.temperature = 0.1F;
  sampling_.top_k = 1;
  SampleInput input;
  input.sampling = &sampling_;
  input.logprobs = 2;
  auto logits = logits_of({0.2, 0.5, 0.3});
  const auto drawn = sampler_.draw(logits, input).value();
  EXPECT_NEAR(drawn.logprobs.drawn.logprob, std::log(0.5), 1e-5);
  ASSERT_EQ(drawn.logprobs.top.size(), 2u);
  EXPECT_EQ(drawn.logprobs.top[1].token, 2u);
  EXPECT_NEAR(drawn.logprobs.top[1].logprob, std::log(0.3), 1e-5);
}

TEST_F(SamplerTest, LogitsThatAreNoNumbersAreAnError) {
  SampleInput input;
  input.sampling = &sampling_;
  std::vector<float> broken = {1, NAN, 2};
  EXPECT_EQ(sampler_.draw(broken, input).status().code(), Code::kInternal);
}

TEST(Philox, MatchesTheVectorsOfItsAuthors) {
  EXPECT_EQ(philox({0, 0, 0, 0}, {0, 0}), (std::array<uint32_t, 4>{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(philox({0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}, {0xffffffff, 0xffffffff}),
            (std::array<uint32_t, 4>{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
}

}  // namespace
}  // namespace dynamo::engine
