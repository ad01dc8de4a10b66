// What every EngineHost keeps to. The test of a kind of host says how one is made:
//   INSTANTIATE_TEST_SUITE_P(Mock, EngineHostContract, testing::Values(make_mock));
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/use_future.hpp>

#include <algorithm>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "base/io_threads.h"
#include "base/metrics.h"
#include "base/mutex.h"
#include "base/testing/patience.h"
#include "handoff/both_sides.h"
#include "worker/engine_host.h"

namespace dynamo::worker {

// Blocks that events say are held.
class HeldBlocks final : public kv::KvEventSink {
 public:
  void on_kv_event(kv::KvEvent event) override {
    MutexLock lock(mutex_);
    if (event.what == kv::KvEvent::What::kCleared) blocks_.clear();
    for (const kv::BlockHash block : event.blocks) {
      if (event.what == kv::KvEvent::What::kStored) {
        blocks_.insert(block.bits);
      } else {
        blocks_.erase(block.bits);
      }
    }
  }
  size_t count() const {
    MutexLock lock(mutex_);
    return blocks_.size();
  }

 private:
  mutable Mutex mutex_;
  std::set<uint64_t> blocks_ GUARDED_BY(mutex_);
};

// Makes a host; null: it cannot be made here, and the tests are skipped. `moves_blocks`: it takes part in hand-offs,
// over tcp.
using MakeHost = std::function<std::unique_ptr<EngineHost>(bool moves_blocks, IoThreads* io, Metrics* metrics)>;

inline handoff::PartOptions part_over_tcp() {
  handoff::PartOptions part;
  part.backend = "tcp";
  part.host = part.listen_host = "127.0.0.1";
  return part;
}

class EngineHostContract : public testing::TestWithParam<MakeHost> {
 protected:
  ~EngineHostContract() override {
    if (host_) host_->stop(Clock::steady().now());
    io_.stop();  // before what its coroutines use goes
  }
  // Returns: whether there is one.
  bool start(bool moves_blocks) {
    host_ = GetParam()(moves_blocks, &io_, &metrics_);
    if (!host_) return false;
    const Status status = host_->start("worker-1", &held_, [this](double done) { progress_.push_back(done); });
    EXPECT_TRUE(status.is_ok()) << status.to_string();
    return status.is_ok();
  }
  template <class T>
  T wait(Task<T> task) {
    return boost::asio::co_spawn(io_.at(0), std::move(task), boost::asio::use_future).get();
  }
  // A prompt of three blocks and a token.
  GenerateRequest request() const {
    GenerateRequest request;
    request.id = "r";
    request.prompt.tokens.assign(3 * host_->spec().block_tokens + 1, 100);
    request.sampling.temperature = 0;
    request.stop.max_tokens = 2;
    request.deadline = soon();
    return request;
  }
  // Asks for it. Returns: the answer's tokens, and how many of the prompt's were cached.
  Result<std::pair<std::vector<TokenId>, uint32_t>> ask() {
    const auto read = [](std::shared_ptr<Generator> generator,
                         GenerateRequest request) -> Task<Result<std::pair<std::vector<TokenId>, uint32_t>>> {
      std::pair<std::vector<TokenId>, uint32_t> answer;
      CO_TRY(const auto generation, co_await generator->generate(std::move(request)));
      for (bool is_over = false; !is_over;) {
        CO_TRY(const TokenChunk chunk, co_await generation->next());
        answer.first.insert(answer.first.end(), chunk.tokens.begin(), chunk.tokens.end());
        answer.second = chunk.cached_tokens;
        is_over = chunk.finish.has_value();
      }
      co_return answer;
    };
    return wait(read(host_->generator(), request()));
  }

  IoThreads io_{1};
  Metrics metrics_;
  HeldBlocks held_;
  std::vector<double> progress_;
  std::unique_ptr<EngineHost> host_;
};

TEST_P(EngineHostContract, SaysWhatItIs) {
  if (!start(/*moves_blocks=*/false)) GTEST_SKIP();
  const EngineSpec& spec = host_->spec();
  EXPECT_FALSE(spec.model.empty());
  EXPECT_FALSE(spec.model_bundle.empty());
  EXPECT_GT(spec.block_tokens, 0U);
  EXPECT_GT(spec.max_batch_tokens, 0U);
  EXPECT_GT(spec.context_length, 3 * spec.block_tokens + 1);
  EXPECT_EQ(spec.transfer, "");
  EXPECT_THAT(spec.roles, testing::ElementsAre(discovery::Role::kAggregated));
  EXPECT_GT(host_->load().engine.total_blocks, 0U);
  EXPECT_EQ(host_->load().transfer_tokens_per_second, 0);
  ASSERT_FALSE(progress_.empty());
  EXPECT_TRUE(std::ranges::is_sorted(progress_));
  EXPECT_EQ(progress_.back(), 1);
}

TEST_P(EngineHostContract, OneThatMovesBlocksCanTakeEveryRole) {
  if (!start(/*moves_blocks=*/true)) GTEST_SKIP();
  EXPECT_THAT(host_->spec().transfer, testing::HasSubstr("tcp"));
  EXPECT_THAT(host_->spec().roles, testing::UnorderedElementsAre(discovery::Role::kAggregated,
                                                                 discovery::Role::kPrefill, discovery::Role::kDecode));
}

TEST_P(EngineHostContract, TellsWhatItsCacheHoldsAndForgetsItWhenTold) {
  if (!start(/*moves_blocks=*/false)) GTEST_SKIP();
  const auto first = ask();
  ASSERT_TRUE(first.is_ok()) << first.status().to_string();
  EXPECT_EQ(first->first.size(), 2U);
  EXPECT_EQ(first->second, 0U);
  EXPECT_EQ(held_.count(), 3U);
  const auto again = ask();
  ASSERT_TRUE(again.is_ok()) << again.status().to_string();
  EXPECT_EQ(again->first, first->first);
  EXPECT_EQ(again->second, 3 * host_->spec().block_tokens);
  host_->clear_cache();
  const auto last = ask();
  ASSERT_TRUE(last.is_ok()) << last.status().to_string();
  EXPECT_EQ(last->second, 0U);
}

TEST_P(EngineHostContract, OneThatMovesNoBlocksRefusesAnOrder) {
  if (!start(/*moves_blocks=*/false)) GTEST_SKIP();
  PrefillOrder order;
  order.request = request();
  EXPECT_EQ(wait(host_->prefill(std::move(order))).status().code(), Code::kUnsupported);
}

TEST_P(EngineHostContract, AnOrderThatCannotBeFilledIsAnErrorAndNothingElse) {
  if (!start(/*moves_blocks=*/true)) GTEST_SKIP();
  PrefillOrder order;
  order.request = request();
  order.card = "no card";
  EXPECT_EQ(wait(host_->prefill(std::move(order))).status().code(), Code::kCorrupt);
  EXPECT_TRUE(ask().is_ok());
}

TEST_P(EngineHostContract, AfterStopRequestsAreRefused) {
  if (!start(/*moves_blocks=*/false)) GTEST_SKIP();
  const auto generator = host_->generator();
  host_->stop(Clock::steady().now());
  host_->stop(Clock::steady().now());
  EXPECT_EQ(ask().status().code(), Code::kUnavailable);
}

}  // namespace dynamo::worker
