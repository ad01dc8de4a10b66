// The default model's logits and greedy answer against the fp32 truth (testdata/smollm2_golden.json, made by
// tests/truth/smollm2_truth.py; docs/accuracy.md has the figures over a longer text).
#include <algorithm>
#include <cmath>
#include <numeric>

#include <gtest/gtest.h>

#include "kernels/backend_factory.h"
#include "model/decoder.h"
#include "model/testing/goldens.h"
#include "model/testing/run_decoder.h"
#include "model/testing/smollm2.h"

namespace dynamo::model {
namespace {

constexpr uint32_t kBlocks = 40;

class SmolLm2 : public ::testing::TestWithParam<kernels::CpuLevel> {
 protected:
  void SetUp() override {
    const std::string path = testing::smollm2_path();
    if (path.empty()) GTEST_SKIP() << testing::kSmolLm2Missing;
    const auto source = open_model(path);
    CHECK_OK(source);
    auto backend = kernels::make_backend({.cpu_level = GetParam()});
    CHECK_OK(backend);
    backend_ = std::move(backend).value();
    auto decoder = testing::make_decoder(**source, backend_.get(), {.kv_blocks = kBlocks});
    CHECK_OK(decoder);
    decoder_ = std::move(decoder).value();
  }

  // Of the golden's text. The scalar level is the definition, not fast: it gets less.
  size_t tokens_to_check() const { return GetParam() == kernels::CpuLevel::kScalar ? 32 : golden_.tokens.size(); }

  const testing::SmolLm2Golden golden_ = testing::read_smollm2_golden(DYNAMO_SOURCE_DIR "/src/model/testdata");
  testing::TestSequence sequence_{.blocks = testing::blocks_in_order(kBlocks)};
  std::unique_ptr<kernels::Backend> backend_;
  std::unique_ptr<Decoder> decoder_;
};

struct Centred {
  explicit Centred(std::span<const float> logits)
      : mean(std::reduce(logits.begin(), logits.end(), 0.0) / static_cast<double>(logits.size())) {
    double sum = 0;
    for (const float logit : logits) sum += std::exp(logit - mean);
    log_sum_exp = std::log(sum);
  }
  double mean;
  double log_sum_exp = 0;
};

TEST_P(SmolLm2, LogitsAreThoseOfTheFp32TruthToOnePerCent) {
  const size_t vocab = decoder_->config().vocab_size;
  const auto tokens = std::span(golden_.tokens).first(tokens_to_check());
  const std::vector<float> all = testing::run_chunks(decoder_.get(), &sequence_, tokens, /*chunk=*/64);
  double error = 0;
  double power = 0;
  size_t values = 0;
  for (const testing::TopLogits& truth : golden_.positions) {
    if (truth.position >= tokens.size()) break;
    const auto ours = std::span(all).subspan(truth.position * vocab, vocab);
    const Centred centred(ours);
    EXPECT_NEAR(centred.log_sum_exp, truth.log_sum_exp, 0.03 * truth.rms) << "position " << truth.position;
    for (size_t i = 0; i < truth.tokens.size(); ++i) {
      const double difference = ours[truth.tokens[i]] - centred.mean - truth.logits[i];
      error += difference * difference;
      power += truth.rms * truth.rms;
      ++values;
    }
    const double gap = truth.logits[0] - truth.logits[1];
    const auto first = static_cast<size_t>(std::ranges::max_element(ours) - ours.begin());
    EXPECT_TRUE(first == truth.tokens[0] || gap < 0.04 * truth.rms) << "position " << truth.position;
  }
  ASSERT_GT(values, 0U);
  EXPECT_LE(std::sqrt(error / power), 0.01);
}

TEST_P(SmolLm2, AnswersTheCapitalOfFranceAsTheFp32TruthDoes) {
  const auto count = static_cast<uint32_t>(golden_.answer.size());
  EXPECT_EQ(testing::run_greedy(decoder_.get(), &sequence_, golden_.prompt, count), golden_.answer);
}

INSTANTIATE_TEST_SUITE_P(Levels, SmolLm2, ::testing::ValuesIn(kernels::supported_cpu_levels()),
                         [](const auto& level) { return std::string(kernels::cpu_level_name(level.param)); });

}  // namespace
}  // namespace dynamo::model
