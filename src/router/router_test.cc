#include "router/router.h"

#include <gtest/gtest.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>

#include "generate/testing/scripted_generator.h"

namespace dynamo::router {
namespace {

ScriptedGenerator::Answer one_token(TokenId token) {
  ScriptedGenerator::Answer answer;
  TokenChunk chunk;
  chunk.tokens = {token};
  chunk.finish = FinishReason::kStop;
  answer.chunks = {chunk};
  return answer;
}

ScriptedGenerator::Answer refuse(Status status) {
  ScriptedGenerator::Answer answer;
  answer.refusal = std::move(status);
  return answer;
}

// Workers 0, 1, ... that answer with their own index, or refuse.
class RouterTest : public testing::Test {
 protected:
  void start(std::vector<Status> refusals, std::unique_ptr<Policy> policy) {
    std::vector<RoutedWorker> workers;
    for (size_t i = 0; i < refusals.size(); ++i) {
      auto generator = std::make_shared<ScriptedGenerator>([i, refusal = refusals[i]](const GenerateRequest&) {
        return refusal.is_ok() ? one_token(static_cast<TokenId>(i)) : refuse(refusal);
      });
      workers.push_back({"worker-" + std::to_string(i + 1), std::move(generator)});
    }
    router_ = std::make_unique<Router>(std::move(workers), std::move(policy), &metrics_);
  }

  template <class T>
  T run(Task<T> task) {
    T out{};
    boost::asio::io_context io;
    boost::asio::co_spawn(io, std::move(task), [&](std::exception_ptr, T result) { out = std::move(result); });
    io.run();
    return out;
  }

  // The token of the worker that answered.
  Result<TokenId> ask() {
    TRY(auto generation, run(router_->generate(GenerateRequest{})));
    TRY(auto chunk, run(generation->next()));
    return chunk.tokens.at(0);
  }

  Metrics metrics_;
  std::unique_ptr<Router> router_;
};

TEST_F(RouterTest, RoundRobinTakesEveryWorkerInTurn) {
  start({Status(), Status(), Status()}, make_round_robin_policy());
  for (TokenId i = 0; i < 9; ++i) EXPECT_EQ(ask().value(), i % 3);
}

TEST_F(RouterTest, RandomSpreadsEvenly) {
  start({Status(), Status(), Status(), Status()}, make_random_policy(/*seed=*/1));
  std::vector<int> counts(4);
  for (int i = 0; i < 4000; ++i) ++counts[ask().value()];
  for (const int count : counts) EXPECT_NEAR(count, 1000, 120);
}

TEST_F(RouterTest, AWorkerThatIsFullOrStoppingIsPassedOver) {
  start({exhausted("queue full"), unavailable("stopping"), Status()}, make_round_robin_policy());
  for (int i = 0; i < 6; ++i) EXPECT_EQ(ask().value(), 2u);
  EXPECT_NE(metrics_.expose().find("dynamo_router_refusals_total{worker=\"worker-1\"}"), std::string::npos);
}

TEST_F(RouterTest, WhenNoWorkerTakesItTheLastRefusalIsReported) {
  start({unavailable("stopping"), unavailable("stopping too")}, make_round_robin_policy());
  EXPECT_EQ(ask().status().code(), Code::kUnavailable);
}

TEST_F(RouterTest, AWrongRequestIsNotTriedElsewhere) {
  start({invalid("empty prompt"), Status()}, make_round_robin_policy());
  EXPECT_EQ(ask().status().code(), Code::kInvalid);
}

TEST_F(RouterTest, ActiveRequestsReturnToZeroHoweverTheyEnd) {
  start({Status(), exhausted("full")}, make_round_robin_policy());
  {
    auto held = run(router_->generate(GenerateRequest{}));
    EXPECT_EQ(router_->active_requests(), (std::vector<uint64_t>{1, 0}));
  }
  static_cast<void>(ask());
  static_cast<void>(ask());
  EXPECT_EQ(router_->active_requests(), (std::vector<uint64_t>{0, 0}));
}

}  // namespace
}  // namespace dynamo::router
