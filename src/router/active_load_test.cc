#include "router/active_load.h"

#include <gtest/gtest.h>

#include <random>
#include <set>

namespace dynamo::router {
namespace {

std::vector<kv::BlockHash> chain(uint64_t first, size_t size) {
  std::vector<kv::BlockHash> blocks;
  for (size_t i = 0; i < size; ++i) blocks.push_back({first * 1000 + i});
  return blocks;
}

TEST(ActiveLoad, BlocksThatRequestsShareCountOnce) {
  ActiveLoad load;
  const WorkerSlot worker = *load.add_worker();
  const auto a = load.add(worker, 100, chain(1, 10));
  auto longer = chain(1, 12);
  const auto b = load.add(worker, 30, longer);
  EXPECT_EQ(load.of(worker).blocks, 12U);
  EXPECT_EQ(load.of(worker).prefill_tokens, 130U);
  load.prefill_done(a);
  load.prefill_done(a);
  EXPECT_EQ(load.of(worker).prefill_tokens, 30U);
  load.free(a);
  EXPECT_EQ(load.of(worker).blocks, 12U);
  load.grow(b, 3);
  EXPECT_EQ(load.of(worker).blocks, 15U);
  load.free(b);
  load.free(b);
  EXPECT_EQ(load.of(worker).blocks + load.of(worker).prefill_tokens + load.of(worker).requests, 0U);
}

TEST(ActiveLoad, AWorkerThatLeavesTakesItsRequestsAlong) {
  ActiveLoad load;
  const WorkerSlot worker = *load.add_worker();
  const auto ticket = load.add(worker, 5, chain(1, 3));
  load.remove_worker(worker);
  load.grow(ticket, 4);
  load.free(ticket);
  EXPECT_EQ(load.in_flight(), 0U);
  EXPECT_EQ(load.of(*load.add_worker()).blocks, 0U);
}

TEST(ActiveLoad, EqualsACountFromScratchUnderAnyOrder) {
  std::mt19937 random(3);
  ActiveLoad load;
  struct Mine {
    WorkerSlot worker;
    uint64_t prefill;
    uint64_t grown;
    std::vector<kv::BlockHash> chain;
  };
  std::map<ActiveLoad::Ticket, Mine> mine;
  std::vector<WorkerSlot> workers;
  for (int i = 0; i < 3; ++i) workers.push_back(*load.add_worker());
  for (int step = 0; step < 20000; ++step) {
    const uint32_t what = random() % 10;
    if (what < 4 || mine.empty()) {
      Mine one{workers[random() % 3], random() % 100, 0, chain(random() % 5, random() % 8)};
      mine.emplace(load.add(one.worker, one.prefill, one.chain), one);
    } else {
      auto at = std::next(mine.begin(), random() % mine.size());
      if (what < 6) {
        load.prefill_done(at->first);
        at->second.prefill = 0;
      } else if (what < 7) {
        load.grow(at->first, 2);
        at->second.grown += 2;
      } else {
        load.free(at->first);
        mine.erase(at);
      }
    }
    if (step % 50 != 0) continue;
    for (const WorkerSlot worker : workers) {
      WorkerLoad expected;
      std::set<uint64_t> distinct;
      for (const auto& [ticket, one] : mine) {
        if (one.worker != worker) continue;
        ++expected.requests;
        expected.prefill_tokens += one.prefill;
        expected.blocks += one.grown;
        for (const auto& block : one.chain) distinct.insert(block.bits);
      }
      expected.blocks += distinct.size();
      ASSERT_EQ(load.of(worker).requests, expected.requests);
      ASSERT_EQ(load.of(worker).prefill_tokens, expected.prefill_tokens);
      ASSERT_EQ(load.of(worker).blocks, expected.blocks);
    }
  }
}

}  // namespace
}  // namespace dynamo::router
