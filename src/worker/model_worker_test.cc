// The whole local path on the default model: whatever the steps are made of, greedy answers are the same tokens.
#include "worker/model_worker.h"

#include <gtest/gtest.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>

#include "model/testing/smollm2.h"

namespace dynamo::worker {
namespace {

struct Answer {
  std::vector<TokenId> tokens;
  uint32_t cached_tokens = 0;
};

class ModelWorkerTest : public testing::Test {
 protected:
  void SetUp() override {
    path_ = model::testing::smollm2_path();
    if (path_.empty()) GTEST_SKIP() << model::testing::kSmolLm2Missing;
    auto files = open_model_files(path_, "");
    CHECK_OK(files);
    files_ = std::move(files).value();
    for (const char* text :
         {"The capital of France is", "def fibonacci(n):\n    \"\"\"Returns the n-th Fibonacci number.\"\"\"\n",
          "Once upon a time, in a small village at the foot of a mountain, there lived an old clockmaker who",
          "1, 2, 3, 4,"})
      prompts_.push_back(files_.tokenizer->encode(text));
  }
  std::unique_ptr<ModelWorker> start(uint32_t batch_tokens) {
    WorkerOptions options;
    options.engine.max_batch_tokens = batch_tokens;
    options.kv_cache_bytes = 32U << 20;
    auto worker = ModelWorker::start(files_, options, &metrics_, /*events=*/nullptr, [](double) {});
    CHECK_OK(worker);
    return std::move(worker).value();
  }
  // Answers to all prompts, asked for together.
  std::vector<Answer> ask(const ModelWorker& worker, const std::vector<std::vector<TokenId>>& prompts) {
    std::vector<Answer> answers(prompts.size());
    for (size_t i = 0; i < prompts.size(); ++i)
      boost::asio::co_spawn(io_, read(worker.generator(), prompts[i], &answers[i]), [](std::exception_ptr) {});
    io_.restart();
    io_.run();
    return answers;
  }
  static Task<void> read(std::shared_ptr<Generator> generator, std::vector<TokenId> prompt, Answer* answer) {
    GenerateRequest request;
    request.prompt.tokens = std::move(prompt);
    request.sampling.temperature = 0;
    request.stop.max_tokens = 24;
    auto generation = co_await generator->generate(std::move(request));
    CHECK_OK(generation);
    for (bool is_over = false; !is_over;) {
      auto chunk = co_await (*generation)->next();
      CHECK_OK(chunk);
      answer->tokens.insert(answer->tokens.end(), chunk->tokens.begin(), chunk->tokens.end());
      answer->cached_tokens = chunk->cached_tokens;
      is_over = chunk->finish.has_value();
    }
  }
  static std::vector<std::vector<TokenId>> tokens_of(const std::vector<Answer>& answers) {
    std::vector<std::vector<TokenId>> tokens;
    for (const Answer& answer : answers) tokens.push_back(answer.tokens);
    return tokens;
  }

  std::string path_;
  ModelFiles files_;
  std::vector<std::vector<TokenId>> prompts_;
  Metrics metrics_;
  boost::asio::io_context io_{1};  // outlives the workers: their threads drop what was read last
};

TEST_F(ModelWorkerTest, GreedyTokensAreTheSameHoweverTheyAreComputed) {
  std::vector<std::vector<TokenId>> alone;
  {
    const auto worker = start(/*batch_tokens=*/512);  // prompts whole
    for (const auto& prompt : prompts_) alone.push_back(ask(*worker, {prompt})[0].tokens);
    for (const auto& tokens : alone) ASSERT_EQ(tokens.size(), 24U);
    worker->stop(Clock::steady().now());
  }
  for (const uint32_t chunk : {1U, 15U, 16U, 17U, 512U}) {
    const auto worker = start(chunk);
    EXPECT_EQ(tokens_of(ask(*worker, prompts_)), alone) << "together, in chunks of " << chunk;
    // The prompt and its answer are asked again: all full blocks of it are cached now.
    std::vector<TokenId> longer = prompts_[2];
    longer.insert(longer.end(), alone[2].begin(), alone[2].begin() + 20);
    const Answer again = ask(*worker, {longer})[0];
    EXPECT_EQ(again.cached_tokens, longer.size() / 16 * 16) << chunk;
    EXPECT_EQ(std::vector<TokenId>(again.tokens.begin(), again.tokens.begin() + 4),
              std::vector<TokenId>(alone[2].begin() + 20, alone[2].end()))
        << "from the cache, in chunks of " << chunk;
    worker->stop(Clock::steady().now());
  }
}

TEST_F(ModelWorkerTest, OptionsThatDoNotFitTheModelAreRefusedByName) {
  const auto refused = [&](auto change) {
    WorkerOptions options;
    change(&options);
    const auto worker = ModelWorker::start(files_, options, &metrics_, /*events=*/nullptr, [](double) {});
    EXPECT_EQ(worker.status().code(), Code::kInvalid);
    return worker.status().text();
  };
  EXPECT_NE(refused([](WorkerOptions* o) { o->engine.block_tokens = 300; }).find("block_tokens 300"),
            std::string::npos);
  EXPECT_NE(refused([](WorkerOptions* o) { o->engine.context_length = 9000; }).find("8192"), std::string::npos);
  EXPECT_NE(refused([](WorkerOptions* o) { o->kv_cache_bytes = 1000; }).find("kv_cache_bytes"), std::string::npos);
}

}  // namespace
}  // namespace dynamo::worker
