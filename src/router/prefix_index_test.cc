// The index against the plainest model of it: a map from each block to the set of its workers.
#include "router/prefix_index.h"

#include <gtest/gtest.h>

#include <atomic>
#include <map>
#include <random>
#include <set>
#include <thread>

namespace dynamo::router {
namespace {

using kv::BlockHash;

class Model {
 public:
  void store(uint32_t worker, BlockHash block) { blocks_[block].insert(worker); }
  void remove(uint32_t worker, BlockHash block) {
    const auto found = blocks_.find(block);
    if (found == blocks_.end()) return;
    found->second.erase(worker);
    if (found->second.empty()) blocks_.erase(found);
  }
  void clear(uint32_t worker) {
    for (auto at = blocks_.begin(); at != blocks_.end();) {
      at->second.erase(worker);
      at = at->second.empty() ? blocks_.erase(at) : std::next(at);
    }
  }
  bool holds(uint32_t worker, BlockHash block) const {
    const auto found = blocks_.find(block);
    return found != blocks_.end() && found->second.contains(worker);
  }
  std::map<uint32_t, uint32_t> match(std::span<const BlockHash> chain) const {
    std::map<uint32_t, uint32_t> matched;
    uint32_t depth = 0;
    for (const BlockHash block : chain) {
      const auto found = blocks_.find(block);
      if (found == blocks_.end()) break;
      for (const uint32_t worker : found->second) {
        if (depth == 0 || (matched.contains(worker) && matched[worker] == depth)) matched[worker] = depth + 1;
      }
      ++depth;
    }
    return matched;
  }
  uint64_t digest(uint32_t worker) const {
    uint64_t sum = 0;
    for (const auto& [block, workers] : blocks_) sum += workers.contains(worker) ? block.bits : 0;
    return sum;
  }
  uint64_t count(uint32_t worker) const {
    uint64_t sum = 0;
    for (const auto& [block, workers] : blocks_) sum += workers.contains(worker);
    return sum;
  }
  size_t size() const { return blocks_.size(); }

 private:
  std::map<BlockHash, std::set<uint32_t>> blocks_;
};

std::map<uint32_t, uint32_t> matched(PrefixIndex& index, std::span<const BlockHash> chain) {
  std::vector<MatchedWorker> out;
  index.match(chain, &out);
  std::map<uint32_t, uint32_t> result;
  uint32_t previous = 1;
  for (const MatchedWorker& worker : out) {
    EXPECT_GE(worker.blocks, previous);
    previous = worker.blocks;
    EXPECT_TRUE(result.emplace(worker.worker.index, worker.blocks).second);
  }
  return result;
}

PrefixIndex::Options options_of(size_t max_bytes, uint32_t max_workers = 512) {
  return {.max_bytes = max_bytes, .max_workers = max_workers, .secret = 7};
}

constexpr size_t kRoomy = size_t{256} << 20;

WorkerSlot added(PrefixIndex& index) {
  auto slot = index.add_worker();
  CHECK_OK(slot);
  return *slot;
}

// Prompts that share beginnings, out of few blocks, 0 and ~0 among them.
class Prompts {
 public:
  Prompts(uint64_t seed, uint64_t distinct) : random_(seed), distinct_(distinct) {}
  std::vector<BlockHash> next() {
    std::vector<BlockHash> chain;
    const uint64_t shared = below(8);
    const uint64_t length = 1 + below(40);
    for (uint64_t depth = 0; depth < length; ++depth) {
      const bool is_shared = depth < length / 2;
      chain.push_back(block(is_shared ? shared * 50 + depth : below(distinct_)));
    }
    return chain;
  }
  uint64_t below(uint64_t limit) { return random_() % limit; }

 private:
  BlockHash block(uint64_t number) const {
    number %= distinct_;
    if (number == 1) return {~uint64_t{0}};
    return {distinct_ < 1000 ? number : number * 0x9e3779b97f4a7c15};
  }
  std::mt19937_64 random_;
  uint64_t distinct_;
};

struct Mix {
  uint32_t workers;
  uint64_t distinct;
  uint64_t operations;  // blocks
};

class PrefixIndexMix : public testing::TestWithParam<Mix> {
 protected:
  void apply(uint64_t choice) {
    const uint32_t at = static_cast<uint32_t>(prompts_.below(slots_.size()));
    const WorkerSlot slot = slots_[at];
    const std::vector<BlockHash> chain = prompts_.next();
    operations_ += chain.size();
    if (choice < 450) {
      index_.store(slot, chain);
      for (const BlockHash block : chain) model_.store(slot.index, block);
    } else if (choice < 900) {
      index_.remove(slot, chain);
      for (const BlockHash block : chain) model_.remove(slot.index, block);
    } else if (choice < 995) {
      const auto expected = model_.match(chain);
      ASSERT_EQ(matched(index_, chain), expected);
      ASSERT_EQ(index_.leading(slot, chain), expected.contains(slot.index) ? expected.at(slot.index) : 0);
    } else {
      apply_rare(at, chain);
    }
  }
  void apply_rare(uint32_t at, const std::vector<BlockHash>& chain) {
    const WorkerSlot slot = slots_[at];
    switch (prompts_.below(3)) {
      case 0:
        index_.replace(slot, chain);
        model_.clear(slot.index);
        for (const BlockHash block : chain) model_.store(slot.index, block);
        break;
      case 1:
        index_.clear(slot);
        model_.clear(slot.index);
        break;
      default:
        index_.remove_worker(slot);
        model_.clear(slot.index);
        slots_[at] = added(index_);
        ASSERT_EQ(slots_[at], slot) << "the slot of a removed worker is reused";
    }
  }
  void compare() {
    ASSERT_EQ(index_.distinct_blocks(), model_.size());
    for (const WorkerSlot slot : slots_) {
      ASSERT_EQ(index_.digest(slot), model_.digest(slot.index));
      ASSERT_EQ(index_.blocks(slot), model_.count(slot.index));
      ASSERT_TRUE(index_.is_complete(slot));
    }
  }

  PrefixIndex index_{options_of(kRoomy)};
  Model model_;
  Prompts prompts_{GetParam().workers * 1000 + GetParam().distinct, GetParam().distinct};
  std::vector<WorkerSlot> slots_;
  uint64_t operations_ = 0;
};

TEST_P(PrefixIndexMix, AgreesWithTheModel) {
  const size_t empty_bytes = index_.bytes();
  for (uint32_t worker = 0; worker < GetParam().workers; ++worker) slots_.push_back(added(index_));
  for (uint64_t step = 0; operations_ < GetParam().operations; ++step) {
    apply(prompts_.below(1000));
    if (step % 20000 == 0) compare();
    if (HasFatalFailure()) return;
  }
  compare();
  for (const WorkerSlot slot : slots_) index_.remove_worker(slot);
  EXPECT_EQ(index_.distinct_blocks(), 0u);
  EXPECT_EQ(index_.workers(), 0u);
  EXPECT_LE(index_.bytes(), empty_bytes + kPageBytes);
  EXPECT_EQ(index_.counts().evicted + index_.counts().refused, 0u);
}

INSTANTIATE_TEST_SUITE_P(Mixes, PrefixIndexMix,
                         testing::Values(Mix{1, 64, 300'000}, Mix{3, 5, 300'000}, Mix{7, 300, 1'000'000},
                                         Mix{64, 100, 1'000'000}, Mix{64, 20'000, 1'000'000}, Mix{130, 300, 1'000'000},
                                         Mix{300, 3'000, 1'000'000}),
                         [](const auto& info) {
                           return std::to_string(info.param.workers) + "WorkersOf" +
                                  std::to_string(info.param.distinct) + "Blocks";
                         });

TEST(PrefixIndex, CountsOnlyBlocksWithoutAGap) {
  PrefixIndex index(options_of(kRoomy));
  const WorkerSlot all = added(index), gap = added(index), late = added(index);
  const std::vector<BlockHash> chain = {{0}, {1}, {2}, {~uint64_t{0}}};
  index.store(all, chain);
  index.store(gap, std::vector<BlockHash>{{0}, {2}, {~uint64_t{0}}});
  index.store(late, std::vector<BlockHash>{{1}, {2}});
  EXPECT_EQ(matched(index, chain), (std::map<uint32_t, uint32_t>{{all.index, 4}, {gap.index, 1}}));
  EXPECT_TRUE(matched(index, std::span(chain).first(0)).empty());
  EXPECT_TRUE(matched(index, std::vector<BlockHash>{{9}}).empty());
}

TEST(PrefixIndex, IsNotDisturbedByWhatItKnowsAlready) {
  PrefixIndex index(options_of(kRoomy));
  const WorkerSlot worker = added(index), other = added(index);
  const std::vector<BlockHash> blocks = {{0}, {5}, {5}, {~uint64_t{0}}};
  index.store(worker, blocks);
  index.store(worker, blocks);
  EXPECT_EQ(index.counts().stored_again, 5u);
  EXPECT_EQ(index.digest(worker), 4u);
  EXPECT_EQ(index.blocks(worker), 3u);
  index.remove(other, blocks);
  index.remove(worker, std::vector<BlockHash>{{77}});
  EXPECT_EQ(index.counts().removed_absent, 5u);
  EXPECT_EQ(index.digest(worker), 4u);
  EXPECT_EQ(index.digest(other), 0u);
}

TEST(PrefixIndex, HasRoomForAsManyWorkersAsItWasTold) {
  PrefixIndex index(options_of(kRoomy, /*max_workers=*/kMaxWorkers));
  const std::vector<BlockHash> chain = {{1}, {2}, {3}};
  for (uint32_t worker = 0; worker < kMaxWorkers; ++worker) index.store(added(index), chain);
  EXPECT_EQ(index.add_worker().status().code(), Code::kExhausted);
  EXPECT_EQ(matched(index, chain).size(), kMaxWorkers);
  for (uint32_t worker = 0; worker < kMaxWorkers; ++worker) {
    index.remove({worker}, std::span(chain).subspan(worker % 3));
  }
  EXPECT_EQ(matched(index, chain).size(), kMaxWorkers - (kMaxWorkers + 2) / 3);
}

std::vector<BlockHash> random_blocks(std::mt19937_64& random, size_t count) {
  std::vector<BlockHash> blocks(count);
  for (BlockHash& block : blocks) block.bits = random();
  return blocks;
}

TEST(PrefixIndex, NeedsAtMost44BytesForABlock) {
  PrefixIndex index(options_of(kRoomy));
  const size_t empty_bytes = index.bytes();
  const WorkerSlot worker = added(index);
  std::mt19937_64 random(1);
  for (size_t stored = 0; stored < 2'000'000; stored += 100) {
    index.store(worker, random_blocks(random, 100));
    if (stored < 300'000) continue;
    ASSERT_LE(index.bytes() - empty_bytes, (stored + 100) * 44) << stored;
  }
  EXPECT_EQ(index.distinct_blocks(), 2'000'000u);
}

TEST(PrefixIndex, ShrinksAsBlocksGo) {
  PrefixIndex index(options_of(kRoomy));
  const size_t empty_bytes = index.bytes();
  const WorkerSlot worker = added(index);
  std::mt19937_64 random(2);
  const std::vector<BlockHash> blocks = random_blocks(random, 1'000'000);
  index.store(worker, blocks);
  const size_t full_bytes = index.bytes();
  index.remove(worker, std::span(blocks).first(950'000));
  EXPECT_LT(index.bytes() - empty_bytes, (full_bytes - empty_bytes) / 3);
  EXPECT_EQ(matched(index, std::span(blocks).subspan(950'000)).at(worker.index), 50'000u);
  index.remove(worker, std::span(blocks).subspan(950'000));
  EXPECT_EQ(index.digest(worker), 0u);
  EXPECT_LE(index.bytes(), empty_bytes + kPageBytes);
}

// What is known must be a subset of the model, and sums and counts must be those of what is known.
class SmallIndex : public testing::TestWithParam<size_t> {};

TEST_P(SmallIndex, NeverClaimsMoreNorTakesMoreThanItMay) {
  const size_t max_bytes = GetParam();
  PrefixIndex index(options_of(max_bytes, /*max_workers=*/300));
  Model model;
  Prompts prompts(max_bytes, /*distinct=*/max_bytes / 8);
  std::vector<WorkerSlot> slots;
  for (int worker = 0; worker < 300; ++worker) slots.push_back(added(index));
  for (int step = 0; step < 15'000; ++step) {
    const WorkerSlot slot = slots[prompts.below(slots.size())];
    const std::vector<BlockHash> chain = prompts.next();
    const uint64_t choice = prompts.below(100);
    if (choice < 70) {
      index.store(slot, chain);
      for (const BlockHash block : chain) model.store(slot.index, block);
    } else if (choice < 85) {
      index.remove(slot, chain);
      for (const BlockHash block : chain) model.remove(slot.index, block);
    } else {
      const auto allowed = model.match(chain);
      for (const auto& [worker, blocks] : matched(index, chain)) {
        ASSERT_TRUE(allowed.contains(worker));
        ASSERT_LE(blocks, allowed.at(worker));
      }
    }
    ASSERT_LE(index.bytes(), max_bytes);
  }
  EXPECT_GT(index.counts().evicted, 0u);
  uint64_t incomplete = 0;
  for (const WorkerSlot slot : slots) {
    const bool is_equal = index.digest(slot) == model.digest(slot.index);
    EXPECT_LE(index.blocks(slot), model.count(slot.index));
    EXPECT_TRUE(is_equal || !index.is_complete(slot));
    incomplete += !index.is_complete(slot);
  }
  EXPECT_GT(incomplete, 0u);
  for (const WorkerSlot slot : slots) index.remove_worker(slot);
  EXPECT_EQ(index.distinct_blocks(), 0u);
}

INSTANTIATE_TEST_SUITE_P(Caps, SmallIndex, testing::Values(size_t{512} << 10, size_t{1} << 20, size_t{3} << 20),
                         [](const auto& info) { return std::to_string(info.param >> 10) + "KiB"; });

TEST(PrefixIndex, KeepsWhatIsAskedForWhenItMustForget) {
  PrefixIndex index(options_of(size_t{8} << 20));
  const WorkerSlot worker = added(index);
  std::mt19937_64 random(3);
  const std::vector<BlockHash> hot = random_blocks(random, 1000);
  index.store(worker, hot);
  for (int round = 0; round < 4000; ++round) {
    index.store(worker, random_blocks(random, 1000));
    if (round % 10 == 0) matched(index, hot);
  }
  EXPECT_EQ(matched(index, hot).at(worker.index), 1000u);
  EXPECT_FALSE(index.is_complete(worker));
  EXPECT_GT(index.distinct_blocks(), 200'000u) << "most of the 8 MiB is put to use";
  index.replace(worker, hot);
  EXPECT_TRUE(index.is_complete(worker));
  EXPECT_EQ(index.blocks(worker), 1000u);
}

TEST(PrefixIndex, WhatASnapshotRepeatsIsKnownAllTheWhile) {
  PrefixIndex index(options_of(kRoomy));
  const WorkerSlot worker = added(index);
  std::mt19937_64 random(3);
  const std::vector<BlockHash> before = random_blocks(random, 20'000);
  const auto chain = std::span(before).first(1'000);
  std::vector<BlockHash> after = random_blocks(random, 20'000);
  after.insert(after.end(), chain.begin(), chain.end());
  index.replace(worker, before);
  std::atomic<bool> is_over = false;
  std::thread writer([&] {
    for (int turn = 0; turn < 3; ++turn) {
      index.replace(worker, after);
      index.replace(worker, before);
    }
    is_over = true;
  });
  size_t matches = 0;
  size_t wrong = 0;
  while (!is_over) {
    ++matches;
    wrong += matched(index, chain) != std::map<uint32_t, uint32_t>{{worker.index, 1'000}};
  }
  writer.join();
  EXPECT_GT(matches, 0U);
  EXPECT_EQ(wrong, 0U);
  EXPECT_EQ(index.blocks(worker), before.size());
  EXPECT_TRUE(index.is_complete(worker));
}

TEST(PrefixIndex, WorkersAreFedClearedAndMatchedByManyThreads) {
  PrefixIndex index(options_of(size_t{1} << 20));
  constexpr size_t kWriters = 4;
  std::atomic<size_t> writing = kWriters;
  std::vector<std::thread> writers;
  for (size_t number = 0; number < kWriters; ++number) {
    writers.emplace_back([&, number] {
      std::mt19937_64 random(number);
      for (int turn = 0; turn < 6; ++turn) {
        const WorkerSlot worker = added(index);
        const auto blocks = random_blocks(random, 5'000);
        index.store(worker, blocks);
        index.remove(worker, std::span(blocks).first(1'000));
        index.replace(worker, std::span(blocks).last(2'000));
        if (turn % 2 == 0) index.clear(worker);
        index.remove_worker(worker);
      }
      --writing;
    });
  }
  std::mt19937_64 random(0);
  const auto chain = random_blocks(random, 600);
  while (writing > 0) EXPECT_LE(matched(index, chain).size(), kWriters);
  for (std::thread& one : writers) one.join();
  EXPECT_EQ(index.workers(), 0U);
  EXPECT_EQ(index.distinct_blocks(), 0U);
}

}  // namespace
}  // namespace dynamo::router
