#include "worker/kv_publisher.h"

#include <gtest/gtest.h>

#include <boost/asio/io_context.hpp>

#include "wire/bus_messages.h"

namespace dynamo::worker {
namespace {

kv::KvEvent stored(const std::vector<uint64_t>& blocks, kv::Tier tier = kv::Tier::kDevice) {
  kv::KvEvent event{kv::KvEvent::What::kStored, {}, tier};
  for (const uint64_t block : blocks) event.blocks.push_back({block});
  return event;
}
kv::KvEvent removed(uint64_t block, kv::Tier tier = kv::Tier::kDevice) {
  return {kv::KvEvent::What::kRemoved, {{block}}, tier};
}

// Keeps what is published.
class KeepingBus final : public events::EventBus {
 public:
  void publish(std::string_view subject, std::string_view data) override { messages.emplace_back(subject, data); }
  std::unique_ptr<events::Subscription> subscribe(std::string, events::OnMessage) override { return nullptr; }
  Status flush(Time) override { return {}; }
  bool is_connected() const override { return true; }
  uint64_t dropped() const override { return 0; }
  std::vector<std::pair<std::string, std::string>> messages;
};

TEST(KvPublisher, NumbersEventsWithoutGapAndSumsWhatIsHeld) {
  boost::asio::io_context io(1);
  KeepingBus bus;
  KvPublisher publisher(io.get_executor(), &bus, "dynamo.ns.kv.7", 7);
  publisher.on_kv_event(stored({10, 20, 30}));
  publisher.on_kv_event(removed(20));
  io.poll();
  publisher.on_kv_event(stored({40}));
  io.restart();
  io.poll();
  ASSERT_EQ(bus.messages.size(), 2U);
  EXPECT_EQ(bus.messages[0].first, "dynamo.ns.kv.7");
  const auto first = wire::kv_events_from_bytes(bus.messages[0].second);
  ASSERT_TRUE(first.is_ok());
  EXPECT_EQ(first->instance, 7U);
  EXPECT_EQ(first->first_event, 1U);
  ASSERT_EQ(first->changes.size(), 2U);
  EXPECT_EQ(first->changes[0].stored.size(), 3U);
  EXPECT_EQ(first->changes[1].removed.at(0).bits, 20U);
  const auto second = wire::kv_events_from_bytes(bus.messages[1].second);
  ASSERT_TRUE(second.is_ok());
  EXPECT_EQ(second->first_event, 3U);
  EXPECT_EQ(publisher.summary().last_event, 3U);
  EXPECT_EQ(publisher.summary().digest, 80U);
  EXPECT_EQ(publisher.summary().blocks, 3U);
}

TEST(KvPublisher, ASnapshotIsTheStateAfterItsEvent) {
  boost::asio::io_context io(1);
  KvPublisher publisher(io.get_executor(), nullptr, "", 7);
  publisher.on_kv_event(stored({1, 2}));
  publisher.on_kv_event({kv::KvEvent::What::kCleared, {}});
  publisher.on_kv_event(stored({3}));
  const auto [summary, blocks] = publisher.snapshot();
  EXPECT_EQ(summary.last_event, 3U);
  EXPECT_EQ(summary.digest, 3U);
  EXPECT_EQ(blocks[kv::Tier::kDevice], std::vector<kv::BlockHash>{{3}});
}

TEST(KvPublisher, EachTierHasItsOwnBlocksAndTheSummaryIsOfTheDevices) {
  boost::asio::io_context io(1);
  KeepingBus bus;
  KvPublisher publisher(io.get_executor(), &bus, "s", 7);
  publisher.on_kv_event(stored({1, 2}));
  publisher.on_kv_event(stored({2, 3}, kv::Tier::kHost));
  publisher.on_kv_event(removed(2));
  publisher.on_kv_event(removed(3, kv::Tier::kHost));
  publisher.on_kv_event({kv::KvEvent::What::kCleared, {}, kv::Tier::kDisk});
  io.poll();
  const auto told = wire::kv_events_from_bytes(bus.messages.at(0).second);
  ASSERT_TRUE(told.is_ok());
  ASSERT_EQ(told->changes.size(), 5U);
  EXPECT_EQ(told->changes[1].tier, kv::Tier::kHost);
  EXPECT_EQ(told->changes[1].stored.size(), 2U);
  EXPECT_EQ(told->changes[2].tier, kv::Tier::kDevice);
  EXPECT_EQ(told->changes[3].tier, kv::Tier::kHost);
  EXPECT_EQ(told->changes[3].removed.at(0).bits, 3U);
  EXPECT_EQ(told->changes[4].tier, kv::Tier::kDisk);
  EXPECT_TRUE(told->changes[4].is_cleared);
  const auto [summary, held] = publisher.snapshot();
  EXPECT_EQ(held[kv::Tier::kDevice], std::vector<kv::BlockHash>{{1}});
  EXPECT_EQ(held[kv::Tier::kHost], std::vector<kv::BlockHash>{{2}});
  EXPECT_EQ(summary.last_event, 5U);
  EXPECT_EQ(summary.digest, 1U) << "of the device's";
  EXPECT_EQ(summary.blocks, 1U);
}

TEST(KvPublisher, ManyBlocksGoOutInMessagesThatFitTheBus) {
  boost::asio::io_context io(1);
  KeepingBus bus;
  KvPublisher publisher(io.get_executor(), &bus, "s", 7);
  for (uint64_t i = 0; i < 3000; ++i) {
    std::vector<uint64_t> blocks;
    for (uint64_t j = 0; j < 100; ++j) blocks.push_back(i * 100 + j);
    publisher.on_kv_event(stored(blocks));
  }
  io.poll();
  EXPECT_GT(bus.messages.size(), 3U);
  uint64_t next = 1;
  for (const auto& [subject, data] : bus.messages) {
    EXPECT_LE(data.size(), events::kMaxMessageBytes);
    const auto message = wire::kv_events_from_bytes(data);
    ASSERT_TRUE(message.is_ok());
    EXPECT_EQ(message->first_event, next);
    next += message->changes.size();
  }
  EXPECT_EQ(next, 3001U);
}

TEST(KvPublisher, NothingIsPublishedAfterItsEnd) {
  boost::asio::io_context io(1);
  KeepingBus bus;
  {
    KvPublisher publisher(io.get_executor(), &bus, "s", 7);
    publisher.on_kv_event(stored({1}));
  }
  io.poll();
  EXPECT_TRUE(bus.messages.empty());
}

}  // namespace
}  // namespace dynamo::worker
