#include "kernels/cpu/sampler.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <random>
#include <set>

#include "kernels/philox.h"

namespace dynamo::kernels {
namespace {

class SamplerTest : public testing::Test {
 protected:
  TokenId draw(std::vector<float> logits, uint64_t seed = 1) {
    Draw draw;
    draw.sampling = &sampling_;
    draw.seed = seed;
    draw.index = static_cast<uint32_t>(output_.size()) + pending_;
    draw.prompt = prompt_;
    draw.output = output_;
    draw.masked = masked_;
    draw.allowed = allowed_;
    return sampler_.draw(logits, draw, drawn_).value().token;
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
  std::vector<uint32_t> allowed_;
  uint32_t pending_ = 0;  // tokens of the output that only drawn_ has
  DrawnTokens drawn_{/*depth=*/3};
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

TEST_F(SamplerTest, PenaltiesCountTheTokensThatTheHostDoesNotKnowYet) {
  sampling_.temperature = 0;
  sampling_.frequency_penalty = 0.6F;
  output_ = {2};
  drawn_.put(/*seat=*/0, /*index=*/1, 0);
  EXPECT_EQ(draw({3, 2, 1}), 0U);
  pending_ = 1;
  EXPECT_EQ(draw({3, 2, 1}), 0U);  // 2.4
  drawn_.put(/*seat=*/0, /*index=*/2, 0);
  pending_ = 2;
  EXPECT_EQ(draw({3, 2, 1}), 1U);  // 1.8 < 2
  output_ = {2, 0};
  pending_ = 1;
  EXPECT_EQ(draw({3, 2, 1}), 1U) << "each is counted once";
  sampling_.frequency_penalty = 0;
  sampling_.repetition_penalty = 2;
  output_ = {2};
  pending_ = 2;
  EXPECT_EQ(draw({3, 2, 1}), 1U);
}

TEST_F(SamplerTest, OnlyAllowedTokensAreDrawn) {
  std::vector<float> logits(70, 0.0F);
  logits[3] = 50;
  allowed_ = {1U << 30, 1U << 1, 1U << 5};
  EXPECT_EQ(drawable(logits), (std::set<TokenId>{30, 33, 69}));
  sampling_.temperature = 0;
  EXPECT_EQ(draw(logits), 30U);
}

TEST_F(SamplerTest, LogprobsAreThoseOfTheWholeDistribution) {
  sampling_.temperature = 0.1F;
  sampling_.top_k = 1;
  Draw input;
  input.sampling = &sampling_;
  input.logprobs = 2;
  auto logits = logits_of({0.2, 0.5, 0.3});
  const auto drawn = sampler_.draw(logits, input, drawn_).value();
  EXPECT_NEAR(drawn.logprobs.drawn.logprob, std::log(0.5), 1e-5);
  ASSERT_EQ(drawn.logprobs.top.size(), 2u);
  EXPECT_EQ(drawn.logprobs.top[1].token, 2u);
  EXPECT_NEAR(drawn.logprobs.top[1].logprob, std::log(0.3), 1e-5);
}

TEST_F(SamplerTest, LogitsThatComeAsNoNumbersAreTheModelsError) {
  Draw input;
  input.sampling = &sampling_;
  sampling_.repetition_penalty = 2;  // whatever is asked
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  for (std::vector<float> broken :
       {std::vector<float>{1, NAN, 2}, {1, kInfinity, 2}, {-kInfinity, -kInfinity, -kInfinity}})
    EXPECT_EQ(sampler_.draw(broken, input, drawn_).status().code(), Code::kInternal);
  std::vector<float> partial = {-kInfinity, 1, -kInfinity};  // a model may exclude tokens
  EXPECT_EQ(sampler_.draw(partial, input, drawn_)->token, 1U);
}

TEST_F(SamplerTest, WithEveryTokenMaskedTheRequestIsWrong) {
  Draw input;
  input.sampling = &sampling_;
  masked_ = {0, 1, 2, 7};
  input.masked = masked_;
  for (const float temperature : {0.0F, 1.0F}) {
    sampling_.temperature = temperature;
    std::vector<float> logits = {1, 3, 2};
    const Status status = sampler_.draw(logits, input, drawn_).status();
    EXPECT_EQ(status.code(), Code::kInvalid);
    EXPECT_NE(status.text().find("min_tokens"), std::string::npos);
  }
}

// The largest and smallest that each may be, and what lies between, at once.
SamplingParams extreme_sampling(std::mt19937* random, uint32_t vocab) {
  const auto one_of = [&](std::initializer_list<float> values) { return values.begin()[(*random)() % values.size()]; };
  constexpr float kTiny = std::numeric_limits<float>::denorm_min();
  SamplingParams sampling{.temperature = one_of({0, kTiny, 1e-38F, 1e-20F, 0.3F, 1, 2, 100}),
                          .top_p = one_of({kTiny, 1e-38F, 1e-9F, 0.5F, 0.999999F, 1}),
                          .top_k = static_cast<int32_t>(one_of({0, 1, 7, 1e6F, 2e9F})),
                          .min_p = one_of({0, kTiny, 1e-38F, 0.1F, 1}),
                          .repetition_penalty = one_of({kTiny, 1e-38F, 1e-30F, 1e-4F, 0.5F, 1, 2}),
                          .presence_penalty = one_of({-2, -kTiny, 0, 2}),
                          .frequency_penalty = one_of({-2, 0, kTiny, 2}),
                          .seed = (*random)(),
                          .logit_bias = {}};
  for (uint32_t i = (*random)() % 4; i > 0; --i)
    sampling.logit_bias.emplace_back((*random)() % (2 * vocab), one_of({-100, -kTiny, kTiny, 100}));
  return sampling;
}

TEST_F(SamplerTest, NoSettingMakesATokenOrALogProbabilityThatIsNone) {
  constexpr uint32_t kVocab = 40;
  std::mt19937 random(7);
  for (int round = 0; round < 20000; ++round) {
    sampling_ = extreme_sampling(&random, kVocab);
    const float scale = std::vector<float>{1e-38F, 1, 50, 1e30F, 3e38F}[random() % 5];
    std::vector<float> logits(kVocab);
    for (float& logit : logits) logit = scale * (static_cast<float>(random() % 2001) / 1000.0F - 1);
    const auto some = [&](size_t most) {
      std::vector<TokenId> tokens(random() % most);
      for (TokenId& token : tokens) token = random() % kVocab;
      return tokens;
    };
    prompt_ = some(30);
    output_ = some(300);
    masked_ = some(10);
    Draw input;
    input.sampling = &sampling_;
    input.seed = *sampling_.seed;
    input.index = static_cast<uint32_t>(output_.size());
    input.prompt = prompt_;
    input.output = output_;
    input.masked = masked_;
    input.logprobs = random() % 100;  // more than there are
    const auto drawn = sampler_.draw(logits, input, drawn_);
    ASSERT_TRUE(drawn.is_ok()) << drawn.status().to_string() << " in round " << round;
    ASSERT_LT(drawn->token, kVocab);
    ASSERT_EQ(std::ranges::find(masked_, drawn->token), masked_.end()) << "round " << round;
    ASSERT_FALSE(std::isnan(drawn->logprobs.drawn.logprob));
    ASSERT_EQ(drawn->logprobs.top.size(), std::min(*input.logprobs, kVocab));
    for (const TokenLogprob& one : drawn->logprobs.top) ASSERT_FALSE(std::isnan(one.logprob) || one.logprob > 0);
  }
}

TEST_F(SamplerTest, APenaltyNearZeroStillTellsTokensApart) {
  sampling_.temperature = 0;
  prompt_ = {1, 2};
  sampling_.repetition_penalty = 1e-4F;
  EXPECT_EQ(draw({9, 4, 5}), 2U);
  EXPECT_EQ(draw({-9, -5, -4}), 2U);
}

TEST(Philox, MatchesTheVectorsOfItsAuthors) {
  EXPECT_EQ(philox({0, 0, 0, 0}, {0, 0}), (std::array<uint32_t, 4>{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(philox({0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}, {0xffffffff, 0xffffffff}),
            (std::array<uint32_t, 4>{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
}

}  // namespace
}  // namespace dynamo::kernels
