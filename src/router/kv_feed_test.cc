#include "router/kv_feed.h"

#include <gtest/gtest.h>

#include <random>
#include <set>

#include "wire/bus_messages.h"

namespace dynamo::router {
namespace {

// A worker's cache that numbers what happens to it, as worker/kv_publisher does.
class Cache {
 public:
  explicit Cache(uint32_t seed) : random_(seed) {}

  wire::KvEvents change() {
    wire::KvEvents message;
    message.instance = 1;
    message.first_event = last_event_ + 1;
    const uint32_t count = 1 + random_() % 3;
    for (uint32_t i = 0; i < count; ++i) {
      ++last_event_;
      wire::KvChange& change = message.changes.emplace_back();
      const uint32_t kind = random_() % 100;
      if (kind == 0) {
        change.is_cleared = true;
        held_.clear();
      } else if (kind < 60 || held_.empty()) {
        for (uint32_t j = 0; j < 1 + random_() % 4; ++j) {
          const uint64_t block = random_();
          if (held_.insert(block).second) change.stored.push_back({block});
        }
      } else {
        change.removed.push_back({*held_.begin()});
        held_.erase(held_.begin());
      }
    }
    return message;
  }
  wire::Heartbeat heartbeat() const {
    wire::Heartbeat message;
    message.last_event = last_event_;
    uint64_t digest = 0;
    for (const uint64_t block : held_) digest += block;
    message.digest = digest;
    message.blocks = held_.size();
    return message;
  }
  std::vector<kv::BlockHash> blocks() const {
    std::vector<kv::BlockHash> all;
    for (const uint64_t block : held_) all.push_back({block});
    return all;
  }
  uint64_t last_event() const { return last_event_; }

 private:
  std::mt19937_64 random_;
  std::set<uint64_t> held_;
  uint64_t last_event_ = 0;
};

class KvFeedTest : public testing::Test {
 protected:
  void snapshot_now() {
    while (feed_.on_snapshot(cache_.last_event(), cache_.blocks())) {
    }
  }
  bool is_equal() {
    const auto heartbeat = cache_.heartbeat();
    return index_.digest(slot_) == heartbeat.digest && index_.blocks(slot_) == heartbeat.blocks;
  }

  PrefixIndex index_{PrefixIndex::Options{.max_bytes = size_t{64} << 20}};
  WorkerSlot slot_ = *index_.add_worker();
  Metrics registry_;
  WorkerMetrics metrics_{&registry_, "m", "w"};
  KvFeed feed_{&index_, slot_, &metrics_};
  Cache cache_{1};
};

TEST_F(KvFeedTest, IsUnknownUntilTheFirstSnapshotAndProvenByAHeartbeat) {
  EXPECT_TRUE(feed_.start());
  EXPECT_FALSE(feed_.start());
  EXPECT_EQ(feed_.state(), KvFeed::State::kUnknown);
  EXPECT_FALSE(feed_.on_events(cache_.change()));  // kept
  snapshot_now();
  EXPECT_EQ(feed_.state(), KvFeed::State::kCatchingUp);
  EXPECT_FALSE(feed_.on_heartbeat(cache_.heartbeat()));
  EXPECT_EQ(feed_.state(), KvFeed::State::kProven);
}

TEST_F(KvFeedTest, EventsThatCameWhileASnapshotWasFetchedAreAppliedOnTopOfIt) {
  feed_.start();
  const uint64_t before = cache_.last_event();
  const auto blocks = cache_.blocks();
  for (int i = 0; i < 10; ++i) EXPECT_FALSE(feed_.on_events(cache_.change()));
  EXPECT_FALSE(feed_.on_snapshot(before, blocks));
  EXPECT_TRUE(is_equal());
}

TEST_F(KvFeedTest, AGapIsRepairedAndTheOldStateStaysMeanwhile) {
  feed_.start();
  snapshot_now();
  feed_.on_events(cache_.change());
  const uint64_t blocks = index_.blocks(slot_);
  static_cast<void>(cache_.change());  // lost
  EXPECT_TRUE(feed_.on_events(cache_.change()));
  EXPECT_FALSE(feed_.on_events(cache_.change()));  // a snapshot is under way already
  EXPECT_EQ(index_.blocks(slot_), blocks);
  snapshot_now();
  EXPECT_TRUE(is_equal());
  EXPECT_EQ(metrics_.gaps->Value(), 1);
}

TEST_F(KvFeedTest, RepeatedAndOldEventsChangeNothing) {
  feed_.start();
  snapshot_now();
  const auto first = cache_.change();
  const auto second = cache_.change();
  feed_.on_events(first);
  feed_.on_events(second);
  EXPECT_FALSE(feed_.on_events(first));
  EXPECT_FALSE(feed_.on_events(second));
  EXPECT_TRUE(is_equal());
}

TEST_F(KvFeedTest, LostLastEventsAreNoticedByTheSecondHeartbeat) {
  feed_.start();
  snapshot_now();
  static_cast<void>(cache_.change());
  EXPECT_FALSE(feed_.on_heartbeat(cache_.heartbeat()));  // they may be on their way
  EXPECT_TRUE(feed_.on_heartbeat(cache_.heartbeat()));
  snapshot_now();
  EXPECT_TRUE(is_equal());
}

TEST_F(KvFeedTest, AnotherSumAtTheSameEventIsRepaired) {
  feed_.start();
  snapshot_now();
  feed_.on_events(cache_.change());
  const kv::BlockHash stray[] = {{42}};
  index_.store(slot_, stray);
  EXPECT_TRUE(feed_.on_heartbeat(cache_.heartbeat()));
  EXPECT_EQ(metrics_.mismatches->Value(), 1);
  snapshot_now();
  EXPECT_FALSE(feed_.on_heartbeat(cache_.heartbeat()));
  EXPECT_EQ(feed_.state(), KvFeed::State::kProven);
}

TEST_F(KvFeedTest, ASnapshotThatFailedIsAskedForAgainAtTheNextHeartbeat) {
  feed_.start();
  feed_.on_no_snapshot();
  EXPECT_TRUE(feed_.on_heartbeat(cache_.heartbeat()));
}

TEST_F(KvFeedTest, AClosedFeedTouchesNothing) {
  feed_.start();
  snapshot_now();
  feed_.close();
  index_.remove_worker(slot_);  // a write to it would be a CHECK failure
  EXPECT_FALSE(feed_.on_events(cache_.change()));
  EXPECT_FALSE(feed_.on_heartbeat(cache_.heartbeat()));
  EXPECT_FALSE(feed_.on_snapshot(cache_.last_event(), cache_.blocks()));
}

TEST_F(KvFeedTest, LowerTiersHaveBlocksOfTheirOwnAndEventsThatChangeNothingCount) {
  feed_.start();
  snapshot_now();
  EXPECT_FALSE(feed_.slot_of(kv::Tier::kHost));
  const std::vector<kv::BlockHash> blocks = {{1}, {2}, {3}};
  wire::KvEvents events{.first_event = 1};
  for (const kv::BlockHash block : blocks) {
    events.changes.push_back({.tier = kv::Tier::kHost, .stored = {block}});
    events.changes.push_back({});  // as one of a tier that only a newer version knows is read
  }
  events.changes.push_back({.tier = kv::Tier::kHost, .removed = {{3}}});
  events.changes.push_back({.tier = kv::Tier::kDisk, .is_cleared = true});
  EXPECT_FALSE(feed_.on_events(events)) << "nothing is missing";
  EXPECT_EQ(index_.blocks(slot_), 0U);
  EXPECT_FALSE(feed_.slot_of(kv::Tier::kDisk));
  const WorkerSlot host = feed_.slot_of(kv::Tier::kHost).value();
  EXPECT_EQ(index_.leading(host, blocks), 2U);
  // The heartbeat is of the device alone.
  EXPECT_FALSE(feed_.on_heartbeat({.last_event = 8}));
  EXPECT_EQ(feed_.state(), KvFeed::State::kProven);
  // A snapshot says all of each tier.
  BlocksByTier lower;
  lower[kv::Tier::kDisk] = {{4}};
  EXPECT_FALSE(feed_.on_snapshot(8, blocks, lower));
  EXPECT_EQ(index_.blocks(host), 0U);
  EXPECT_EQ(index_.blocks(slot_), 3U);
  EXPECT_EQ(index_.blocks(feed_.slot_of(kv::Tier::kDisk).value()), 1U);
  feed_.close();
  EXPECT_EQ(index_.workers(), 1U) << "the device's slot is the caller's";
}

TEST(KvFeed, WhereTheIndexHasNoSlotLeftALowerTierStaysUnknown) {
  PrefixIndex index{PrefixIndex::Options{.max_bytes = size_t{1} << 20, .max_workers = 1}};
  const WorkerSlot slot = *index.add_worker();
  Metrics registry;
  const WorkerMetrics metrics(&registry, "m", "w");
  KvFeed feed(&index, slot, &metrics);
  feed.start();
  feed.on_snapshot(0, {});
  EXPECT_FALSE(
      feed.on_events({.first_event = 1, .changes = {{.tier = kv::Tier::kHost, .stored = {{1}}}, {.stored = {{2}}}}}));
  EXPECT_FALSE(feed.slot_of(kv::Tier::kHost));
  EXPECT_EQ(index.blocks(slot), 1U);
}

// What the index forgets at its cap must not look like a loss: snapshots would come without end.
TEST(KvFeed, AnIndexTooSmallForTheCacheIsPartialAndAsksForNothing) {
  PrefixIndex index{PrefixIndex::Options{.max_bytes = size_t{512} << 10, .max_workers = 8}};
  const WorkerSlot slot = *index.add_worker();
  Metrics registry;
  const WorkerMetrics metrics(&registry, "m", "w");
  KvFeed feed(&index, slot, &metrics);
  feed.start();
  std::vector<kv::BlockHash> blocks;
  wire::Heartbeat heartbeat;
  for (uint64_t i = 0; i < 100'000; ++i) {
    blocks.push_back({i * 0x9e3779b97f4a7c15});
    heartbeat.digest += blocks.back().bits;
  }
  heartbeat.last_event = 7;
  heartbeat.blocks = blocks.size();
  EXPECT_FALSE(feed.on_snapshot(7, blocks));
  EXPECT_FALSE(feed.on_heartbeat(heartbeat));
  EXPECT_EQ(feed.state(), KvFeed::State::kPartial);
  EXPECT_FALSE(feed.on_heartbeat(heartbeat));
  EXPECT_EQ(metrics.mismatches->Value(), 0);
  EXPECT_LE(index.bytes(), size_t{512} << 10);
  EXPECT_FALSE(feed.on_snapshot(8, std::span(blocks).first(10)));  // it emptied its cache
  heartbeat.last_event = 8;
  heartbeat.blocks = 10;
  heartbeat.digest = 0;
  for (int i = 0; i < 10; ++i) heartbeat.digest = heartbeat.digest + blocks[i].bits;
  EXPECT_FALSE(feed.on_heartbeat(heartbeat));
  EXPECT_EQ(feed.state(), KvFeed::State::kProven);
}

// Loss, repetition, reordering and failing snapshots, by chance: after the dust settles the index equals the cache.
TEST(KvFeed, EqualsTheCacheAfterAnyMishaps) {
  for (uint32_t seed = 0; seed < 200; ++seed) {
    std::mt19937 random(seed);
    PrefixIndex index{PrefixIndex::Options{.max_bytes = size_t{64} << 20}};
    const WorkerSlot slot = *index.add_worker();
    Metrics registry;
    const WorkerMetrics metrics(&registry, "m", "w");
    KvFeed feed(&index, slot, &metrics);
    Cache cache(seed);
    bool must_fetch = feed.start();
    std::vector<wire::KvEvents> late;
    for (int step = 0; step < 300; ++step) {
      wire::KvEvents events = cache.change();
      const uint32_t fate = random() % 10;
      if (fate == 0) late.push_back(events);
      if (fate == 1) must_fetch |= feed.on_events(events);
      if (fate >= 1 && fate != 2) must_fetch |= feed.on_events(events);
      if (random() % 10 == 0) must_fetch |= feed.on_heartbeat(cache.heartbeat());
      if (!late.empty() && random() % 5 == 0) {
        must_fetch |= feed.on_events(late.back());
        late.pop_back();
      }
      if (must_fetch && random() % 3 == 0) {
        must_fetch = false;
        if (random() % 4 == 0) {
          feed.on_no_snapshot();
        } else {
          must_fetch = feed.on_snapshot(cache.last_event(), cache.blocks());
        }
      }
    }
    for (int i = 0; i < 5; ++i) {  // a tail that was lost takes two heartbeats to be seen
      if (must_fetch) must_fetch = feed.on_snapshot(cache.last_event(), cache.blocks());
      must_fetch |= feed.on_heartbeat(cache.heartbeat());
    }
    ASSERT_EQ(feed.state(), KvFeed::State::kProven) << seed;
    ASSERT_EQ(index.digest(slot), cache.heartbeat().digest);
    ASSERT_EQ(index.blocks(slot), cache.blocks().size());
  }
}

}  // namespace
}  // namespace dynamo::router
