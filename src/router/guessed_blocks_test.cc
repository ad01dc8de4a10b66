#include "router/guessed_blocks.h"

#include <gtest/gtest.h>

#include <deque>
#include <random>
#include <set>

#include "base/check.h"

namespace dynamo::router {
namespace {

using std::chrono::seconds;

// Hashes are three bits wide, so that chains hold a hash often and share most with others of other prompts.
TEST(GuessedBlocks, SentBlocksAreHeldUntilTheyExpireDespiteCollidingHashes) {
  struct Sent {
    Time at;
    uint32_t worker;
    std::vector<kv::BlockHash> chain;
  };
  constexpr Duration kLifetime = seconds(20);
  std::mt19937_64 random(1);
  PrefixIndex index({.max_bytes = size_t{4} << 20, .secret = 7});
  GuessedBlocks guessed(&index, kLifetime);
  std::vector<WorkerSlot> slots;
  for (int i = 0; i < 3; ++i) {
    const auto slot = index.add_worker();
    CHECK_OK(slot);
    slots.push_back(*slot);
  }
  std::deque<Sent> sent;  // not expired
  Time now{};
  for (int step = 0; step < 20'000; ++step) {
    now += seconds(random() % 4);
    const auto worker = static_cast<uint32_t>(random() % slots.size());
    guessed.expire(now);
    while (!sent.empty() && sent.front().at + kLifetime <= now) sent.pop_front();
    if (random() % 100 == 0) {
      guessed.remove_worker(slots[worker]);
      index.remove_worker(slots[worker]);
      const auto slot = index.add_worker();
      CHECK_OK(slot);
      slots[worker] = *slot;
      std::erase_if(sent, [&](const Sent& one) { return one.worker == worker; });
    } else if (random() % 3 == 0) {
      std::vector<kv::BlockHash> chain(random() % 6);
      for (kv::BlockHash& block : chain) block.bits = random() % 8;
      guessed.sent(slots[worker], chain, now);
      sent.push_back({now, worker, chain});
    }
    for (uint32_t i = 0; i < slots.size(); ++i) {
      std::set<kv::BlockHash> held;
      uint64_t digest = 0;
      for (const Sent& one : sent)
        if (one.worker == i) held.insert(one.chain.begin(), one.chain.end());
      for (const kv::BlockHash block : held) digest += block.bits;
      ASSERT_EQ(index.blocks(slots[i]), held.size()) << step;
      ASSERT_EQ(index.digest(slots[i]), digest) << step;
    }
  }
}

}  // namespace
}  // namespace dynamo::router
