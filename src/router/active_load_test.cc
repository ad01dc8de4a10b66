#include "router/active_load.h"

#include <gtest/gtest.h>

#include <map>
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
  const WorkerSlot worker{0};
  load.add_worker(worker);
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
  const WorkerSlot worker{0};
  load.add_worker(worker);
  const auto id = load.add(worker, 5, chain(1, 3));
  load.remove_worker(worker);
  load.grow(id, 4);
  load.free(id);
  EXPECT_EQ(load.in_flight(), 0U);
  load.add_worker(worker);
  EXPECT_EQ(load.of(worker).blocks + load.of(worker).requests, 0U);
  EXPECT_EQ(load.edges(), 0U);
}

uint64_t all_of(const WorkerLoad& load) {
  return load.requests + load.prefill_tokens + load.blocks;
}

// The rest is of blocks whose hashes collide, as clients can make them.

TEST(ActiveLoad, AChainThatHoldsAHashAgainAndAgainIsCountedBlockByBlock) {
  const kv::BlockHash h{7};
  const std::vector<kv::BlockHash> loop{h, h, h, h};
  const std::vector<kv::BlockHash> parts{h, {1}, h};
  const std::vector<kv::BlockHash> later{h, h, {2}};
  std::vector<int> order{0, 1, 2};
  do {
    ActiveLoad load;
    const WorkerSlot worker{0};
    load.add_worker(worker);
    const std::vector<ActiveLoad::Id> ids{load.add(worker, 1, loop), load.add(worker, 1, parts),
                                          load.add(worker, 1, later)};
    EXPECT_EQ(load.of(worker).blocks, 4U + 2U + 1U);
    std::vector<uint32_t> matched;
    load.match(std::vector<kv::BlockHash>(9, h), &matched);
    EXPECT_EQ(matched[0], 4U);
    load.match(std::vector<kv::BlockHash>{h, h, {2}, {2}}, &matched);
    EXPECT_EQ(matched[0], 3U);
    for (const int one : order) load.free(ids[static_cast<size_t>(one)]);
    EXPECT_EQ(all_of(load.of(worker)) + load.edges(), 0U);
  } while (std::ranges::next_permutation(order).found);
}

TEST(ActiveLoad, AHashThatOthersHoldAfterOtherBlocksIsABlockOfItsOwn) {
  ActiveLoad load;
  const WorkerSlot worker{0};
  load.add_worker(worker);
  std::vector<ActiveLoad::Id> ids;
  const std::vector<std::vector<kv::BlockHash>> chains{{{1}, {2}, {3}}, {{2}, {3}}, {{3}}, {{1}, {3}, {2}}, {{2}, {1}}};
  for (const auto& one : chains) ids.push_back(load.add(worker, 0, one));
  EXPECT_EQ(load.of(worker).blocks, 3U + 2U + 1U + 2U + 1U);
  std::vector<uint32_t> matched;
  for (const auto& one : chains) {
    load.match(one, &matched);
    EXPECT_EQ(matched[0], one.size());
  }
  load.match(std::vector<kv::BlockHash>{{1}, {2}, {2}}, &matched);
  EXPECT_EQ(matched[0], 2U);
  for (const ActiveLoad::Id id : ids) load.free(id);
  EXPECT_EQ(all_of(load.of(worker)) + load.edges(), 0U);
}

TEST(ActiveLoad, ChainsThatPartAndMeetAgainAreCountedApart) {
  ActiveLoad load;
  const WorkerSlot worker{0};
  load.add_worker(worker);
  const auto a = load.add(worker, 0, std::vector<kv::BlockHash>{{1}, {2}, {3}, {4}});
  const auto b = load.add(worker, 0, std::vector<kv::BlockHash>{{1}, {9}, {3}, {4}});
  EXPECT_EQ(load.of(worker).blocks, 7U);
  std::vector<uint32_t> matched;
  load.match(std::vector<kv::BlockHash>{{1}, {8}, {3}, {4}}, &matched);
  EXPECT_EQ(matched[0], 1U);
  load.free(a);
  EXPECT_EQ(load.of(worker).blocks, 4U);
  load.free(b);
  EXPECT_EQ(all_of(load.of(worker)) + load.edges(), 0U);
}

// What the load must say, counted from scratch.
struct Model {
  struct Request {
    WorkerSlot worker;
    uint64_t prefill = 0;
    uint64_t grown = 0;
    std::vector<kv::BlockHash> chain;
  };
  std::map<ActiveLoad::Id, Request> requests;

  WorkerLoad of(WorkerSlot worker) const {
    WorkerLoad load;
    std::set<std::vector<kv::BlockHash>> distinct;  // prefixes
    for (const auto& [id, one] : requests) {
      if (one.worker != worker) continue;
      ++load.requests;
      load.prefill_tokens += one.prefill;
      load.blocks += one.grown;
      for (size_t end = 1; end <= one.chain.size(); ++end)
        distinct.insert({one.chain.begin(), one.chain.begin() + static_cast<ptrdiff_t>(end)});
    }
    load.blocks += distinct.size();
    return load;
  }
  uint32_t matched(WorkerSlot worker, const std::vector<kv::BlockHash>& prompt) const {
    size_t most = 0;
    for (const auto& [id, one] : requests) {
      if (one.worker != worker) continue;
      size_t same = 0;
      while (same < std::min(prompt.size(), one.chain.size()) && prompt[same] == one.chain[same]) ++same;
      most = std::max(most, same);
    }
    return static_cast<uint32_t>(most);
  }
};

// A prompt that parts from others at any block: the hash of a block is that of all choices up to it.
std::vector<kv::BlockHash> branching_chain(std::mt19937* random) {
  std::vector<kv::BlockHash> blocks;
  uint64_t prefix = 1;
  for (size_t left = (*random)() % 12; left > 0; --left) {
    prefix = prefix * 0x9e3779b97f4a7c15 + ((*random)() % 4 == 0);
    blocks.push_back({prefix});
  }
  return blocks;
}

// A prompt whose blocks collide with its own and others': hashes three bits wide, mostly the same one.
std::vector<kv::BlockHash> colliding_chain(std::mt19937* random) {
  std::vector<kv::BlockHash> blocks((*random)() % 12);
  for (kv::BlockHash& block : blocks) block.bits = (*random)() % 3 == 0 ? (*random)() % 8 : 5;
  return blocks;
}

using MakeChain = std::vector<kv::BlockHash> (*)(std::mt19937*);

class ActiveLoadModel : public testing::TestWithParam<MakeChain> {};
INSTANTIATE_TEST_SUITE_P(Chains, ActiveLoadModel, testing::Values(&branching_chain, &colliding_chain),
                         [](const auto& info) { return info.index == 0 ? "Branching" : "Colliding"; });

TEST_P(ActiveLoadModel, EqualsACountFromScratchUnderAnyOrder) {
  std::mt19937 random(3);
  ActiveLoad load;
  Model model;
  const std::vector<WorkerSlot> workers{{0}, {1}, {2}};
  for (const WorkerSlot worker : workers) load.add_worker(worker);
  std::vector<uint32_t> matched;
  for (int step = 0; step < 40000; ++step) {
    const uint32_t what = random() % 100;
    const size_t wanted = step / 4000 % 2 == 0 ? 40 : 4;  // fills and empties
    if (what == 0) {
      const WorkerSlot worker = workers[random() % workers.size()];
      load.remove_worker(worker);
      load.add_worker(worker);
      std::erase_if(model.requests, [&](const auto& one) { return one.second.worker == worker; });
    } else if (what < 50 ? model.requests.size() < wanted : model.requests.empty()) {
      const Model::Request one{workers[random() % workers.size()], random() % 100, 0, GetParam()(&random)};
      model.requests.emplace(load.add(one.worker, one.prefill, one.chain), one);
    } else if (!model.requests.empty()) {
      const auto at = std::next(model.requests.begin(), static_cast<ptrdiff_t>(random() % model.requests.size()));
      if (what < 60) {
        load.prefill_done(at->first);
        at->second.prefill = 0;
      } else if (what < 70) {
        load.grow(at->first, 2);
        at->second.grown += 2;
      } else {
        load.free(at->first);
        model.requests.erase(at);
      }
    }
    ASSERT_EQ(load.in_flight(), model.requests.size());
    ASSERT_LE(load.edges(), 2 * model.requests.size());  // as a radix tree has it: no edge is left in pieces
    if (step % 20 != 0) continue;
    const auto prompt = GetParam()(&random);
    load.match(prompt, &matched);
    for (const WorkerSlot worker : workers) {
      const WorkerLoad expected = model.of(worker);
      ASSERT_EQ(load.of(worker).requests, expected.requests);
      ASSERT_EQ(load.of(worker).prefill_tokens, expected.prefill_tokens);
      ASSERT_EQ(load.of(worker).blocks, expected.blocks);
      ASSERT_EQ(matched[worker.index], model.matched(worker, prompt));
    }
  }
  for (const auto& [id, one] : model.requests) load.free(id);
  for (const WorkerSlot worker : workers) EXPECT_EQ(all_of(load.of(worker)), 0U);
  EXPECT_EQ(load.edges(), 0U);
}

}  // namespace
}  // namespace dynamo::router
