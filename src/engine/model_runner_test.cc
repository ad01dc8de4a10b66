// What one sequence asks for, or finds broken, does not reach those beside it: with a decoder that computes, the sampler and the engine.
#include "engine/model_runner.h"

#include <algorithm>
#include <cstring>
#include <random>

#include <gtest/gtest.h>

#include "base/testing/fake_clock.h"
#include "engine/engine_core.h"
#include "generate/sampling_limits.h"
#include "kernels/backend_factory.h"
#include "model/testing/run_decoder.h"
#include "model/testing/tiny_model.h"

namespace dynamo::engine {
namespace {

constexpr uint32_t kBlockTokens = 16;
constexpr uint32_t kBlocks = 40;

struct Collected final : ChunkSink {
  void on_chunk(TokenChunk chunk) override {
    tokens.insert(tokens.end(), chunk.tokens.begin(), chunk.tokens.end());
    for (const TokenLogprobs& one : chunk.logprobs) {
      logprobs.push_back(one.drawn.logprob);
      for (const TokenLogprob& other : one.top) logprobs.push_back(other.logprob);
    }
    cached = chunk.cached_tokens;
    finish = chunk.finish;
  }
  void on_failure(Status status) override { failure = std::move(status); }
  void on_sign_of_life() override {}

  std::vector<TokenId> tokens;
  std::vector<float> logprobs;
  uint32_t cached = 0;
  std::optional<FinishReason> finish;
  Status failure;
};

// By steps under way.
class ModelRunnerTest : public testing::TestWithParam<uint32_t> {
 protected:
  void SetUp() override {
    const std::string path = folder_ / "tiny.gguf";
    CHECK(model::testing::write_tiny_gguf({}, path).is_ok());
    const auto source = model::open_model(path);
    CHECK_OK(source);
    auto backend = kernels::make_backend({.threads = 1, .depth = GetParam()});
    CHECK_OK(backend);
    backend_ = std::move(backend).value();
    auto decoder = model::testing::make_decoder(
        **source, backend_.get(),
        {.block_tokens = kBlockTokens, .kv_blocks = kBlocks, .max_rows = 64, .max_draws = 64});
    CHECK_OK(decoder);
    decoder_ = std::move(decoder).value();
    options_ = {.block_tokens = kBlockTokens,
                .kv_blocks = kBlocks,
                .context_length = 200,
                .vocab_size = decoder_->config().vocab_size,
                .max_batch_tokens = 64,
                .max_sequences = 16};
    core_ = std::make_unique<EngineCore>(options_, make_model_runner(decoder_.get()), &clock_, /*events=*/nullptr,
                                         &metrics_, MetricLabels{});
  }
  GenerateRequest request(uint32_t family, size_t prompt_tokens, uint32_t max_tokens) const {
    GenerateRequest request;
    for (size_t i = 0; i < prompt_tokens; ++i)
      request.prompt.tokens.push_back(static_cast<TokenId>((family * 31 + i * 7) % options_.vocab_size));
    request.stop.max_tokens = max_tokens;
    request.sampling.seed = family;
    request.logprobs = 3;
    return request;
  }
  std::shared_ptr<Collected> add(const GenerateRequest& request) {
    auto sink = std::make_shared<Collected>();
    const Status wrong = EngineCore::check(options_, request);
    EXPECT_TRUE(wrong.is_ok()) << wrong.text();
    core_->add(SequenceId{++last_id_}, request, sink);
    return sink;
  }
  void run() {
    while (core_->has_work()) core_->step();
    core_->pool().check_invariants();
  }
  // As a peer may do: every byte of every block is part of a NaN now.
  void spoil_kv() { std::memset(decoder_->kv_pool().memory().data, 0xFF, decoder_->kv_pool().bytes()); }

  model::testing::TemporaryFolder folder_;
  std::unique_ptr<kernels::Backend> backend_;
  std::unique_ptr<model::Decoder> decoder_;
  FakeClock clock_;
  Metrics metrics_;
  EngineOptions options_;
  std::unique_ptr<EngineCore> core_;
  uint64_t last_id_ = 0;
};

TEST_P(ModelRunnerTest, NoParametersOfOneRequestChangeTheTokensOfAnother) {
  std::mt19937 random(5);
  const auto one_of = [&](std::initializer_list<double> values) {
    return static_cast<float>(values.begin()[random() % values.size()]);
  };
  GenerateRequest plain = request(1, 20, 8);
  const auto alone = add(plain);
  run();
  ASSERT_EQ(alone->tokens.size(), 8U);
  for (int round = 0; round < 300; ++round) {
    SCOPED_TRACE(round);
    core_->clear_cache();
    std::vector<std::shared_ptr<Collected>> beside;
    const auto add_one = [&] {
      GenerateRequest odd = request(2 + random() % 5, 1 + random() % 30, 1 + random() % 12);
      // All of the ranges that the API has, as its reader makes them floats: denormals, the least normal one, both ends.
      odd.sampling.temperature = one_of({0, 5e-324, 1e-45, 1e-38, 1e-10, 0.7, 2});
      odd.sampling.top_p = one_of({5e-324, 1e-45, 1e-38, 1e-10, 0.5, 1});
      odd.sampling.top_k = static_cast<int32_t>(one_of({0, 1, 50, 1000, 2147483000}));
      odd.sampling.min_p = one_of({0, 1e-45, 1e-38, 0.5, 1});
      odd.sampling.repetition_penalty = one_of({5e-324, 1e-300, 1e-45, 1e-38, 1e-37, 0.01, 1, 2});
      odd.sampling.presence_penalty = one_of({-2, -1e-45, 0, 2});
      odd.sampling.frequency_penalty = one_of({-2, 0, 1e-38, 2});
      odd.sampling.seed = random();
      for (uint32_t i = random() % 3; i > 0; --i)
        odd.sampling.logit_bias.emplace_back(random() % options_.vocab_size, one_of({-100, 1e-45, 100}));
      odd.logprobs = random() % 500;  // more than there are tokens
      odd.stop.min_tokens = random() % 20;
      odd.stop.stop_token_ids = {258, 3, static_cast<TokenId>(random() % options_.vocab_size)};
      clamp_to_limits(&odd.sampling);
      beside.push_back(add(odd));
    };
    add_one();
    const auto watched = add(plain);
    add_one();
    core_->step();
    add_one();
    run();
    ASSERT_EQ(watched->tokens, alone->tokens);
    ASSERT_EQ(watched->logprobs, alone->logprobs);
    for (const auto& one : beside) ASSERT_TRUE(one->finish) << one->failure.to_string();
  }
}

TEST_P(ModelRunnerTest, ARequestThatMasksEveryTokenFailsAlone) {
  const auto alone = add(request(1, 20, 8));
  run();
  GenerateRequest nothing_left = request(2, 5, 8);
  nothing_left.stop.min_tokens = 4;
  for (TokenId token = 0; token < options_.vocab_size; ++token) nothing_left.stop.stop_token_ids.push_back(token);
  const auto failed = add(nothing_left);
  const auto beside = add(request(1, 20, 8));
  run();
  EXPECT_EQ(failed->failure.code(), Code::kInvalid);
  EXPECT_EQ(beside->tokens, alone->tokens);
}

TEST_P(ModelRunnerTest, BrokenKvReachesThoseAloneWhoseBlocksItIsInAndIsNotFoundAgain) {
  const GenerateRequest shared = request(1, 40, 8);
  const GenerateRequest other = request(2, 23, 8);
  const auto expected = add(shared);
  const auto expected_other = add(other);
  run();
  core_->clear_cache();
  add(shared);
  run();
  ASSERT_GT(core_->load().cached_blocks, 0U);
  spoil_kv();
  const auto finds_it = add(shared);
  const auto beside = add(other);  // in blocks that were as broken, but are its own
  run();
  EXPECT_EQ(finds_it->failure.code(), Code::kInternal);
  EXPECT_EQ(beside->tokens, expected_other->tokens);
  EXPECT_EQ(beside->logprobs, expected_other->logprobs);
  const auto again = add(shared);
  run();
  EXPECT_EQ(again->cached, 0U);
  EXPECT_EQ(again->tokens, expected->tokens);
  EXPECT_EQ(again->logprobs, expected->logprobs);
}

TEST_P(ModelRunnerTest, KvThatBreaksInTheMiddleOfAnAnswerEndsThatAnswer) {
  const auto running = add(request(1, 20, 30));
  for (int i = 0; i < 4; ++i) core_->step();
  spoil_kv();
  const auto later = add(request(2, 20, 8));
  run();
  EXPECT_EQ(running->failure.code(), Code::kInternal);
  EXPECT_EQ(running->tokens.size(), 4U + GetParam() - 1) << "steps under way were computed before";
  EXPECT_EQ(later->tokens.size(), 8U) << later->failure.to_string();
}

INSTANTIATE_TEST_SUITE_P(StepsUnderWay, ModelRunnerTest, testing::Values(1, 2, 3), testing::PrintToStringParamName());

}  // namespace
}  // namespace dynamo::engine
