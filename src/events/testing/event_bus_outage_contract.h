// The second half of what every EventBus must do: while the broker is away, hangs, and is back. See event_bus_contract.h.
#pragma once

#include <algorithm>
#include <chrono>
#include <string>
#include <vector>

#include "events/testing/event_bus_contract.h"

namespace dynamo::events {

template <class Harness>
class EventBusOutageContract : public EventBusContract<Harness> {
 protected:
  // Returns: whether every bus saw it.
  bool take_away(const std::vector<EventBus*>& buses) {
    this->harness_->take_away();
    return wait_until([&] { return count_connected(buses) == 0; });
  }
  bool bring_back(const std::vector<EventBus*>& buses) {
    this->harness_->bring_back();
    return wait_until([&] { return count_connected(buses) == buses.size(); });
  }

 private:
  static size_t count_connected(const std::vector<EventBus*>& buses) {
    return static_cast<size_t>(
        std::count_if(buses.begin(), buses.end(), [](const EventBus* bus) { return bus->is_connected(); }));
  }
};

TYPED_TEST_SUITE_P(EventBusOutageContract);

TYPED_TEST_P(EventBusOutageContract, RenewsSubscriptions) {
  const auto one = this->make_bus();
  const auto other = this->make_bus();
  Collector before, during;
  const auto early = other->subscribe("s.>", before.callback());
  ASSERT_TRUE(other->flush(soon()).is_ok());
  ASSERT_TRUE(this->take_away({one.get(), other.get()}));
  const auto late = other->subscribe("s.x", during.callback());
  auto ended = other->subscribe("s.x", [](auto, auto) { ADD_FAILURE() << "it had ended"; });
  ended.reset();
  ASSERT_TRUE(this->bring_back({one.get(), other.get()}));
  ASSERT_TRUE(other->flush(soon()).is_ok());
  one->publish("s.x", "again");
  ASSERT_TRUE(before.wait_for(1) && during.wait_for(1));
  EXPECT_THAT(before.messages(), testing::ElementsAre("again"));
  EXPECT_THAT(during.messages(), testing::ElementsAre("again"));
}

// The publisher listens itself: its subscription is renewed before what it kept is sent.
TYPED_TEST_P(EventBusOutageContract, KeepsWhatIsPublishedMeanwhile) {
  const auto bus = this->make_bus();
  Collector collector;
  const auto subscription = bus->subscribe("s", collector.callback());
  ASSERT_TRUE(bus->flush(soon()).is_ok());
  ASSERT_TRUE(this->take_away({bus.get()}));
  const std::string filling(1000, '-');
  const int count = static_cast<int>(kMaxUnsentBytes / 2 / filling.size());
  const Time start = std::chrono::steady_clock::now();
  for (int number = 0; number < count; ++number) bus->publish("s", std::to_string(number) + filling);
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(5)) << "publish() blocked";
  EXPECT_EQ(bus->flush(std::chrono::steady_clock::now() + std::chrono::milliseconds(20)).code(), Code::kUnavailable);
  ASSERT_TRUE(this->bring_back({bus.get()}));
  ASSERT_TRUE(collector.wait_for(count));
  for (int number = 0; number < count; ++number)
    ASSERT_EQ(collector.message_at(number), std::to_string(number) + filling);
  EXPECT_EQ(bus->dropped(), 0);
}

TYPED_TEST_P(EventBusOutageContract, DropsTheOldestOfWhatIsTooMuch) {
  const auto bus = this->make_bus();
  Collector collector;
  const auto subscription = bus->subscribe("s", collector.callback());
  ASSERT_TRUE(bus->flush(soon()).is_ok());
  ASSERT_TRUE(this->take_away({bus.get()}));
  constexpr size_t kBytes = 4096;
  constexpr size_t kFit = kMaxUnsentBytes / kBytes;
  constexpr size_t kMessages = 3 * kFit;
  for (size_t number = 0; number < kMessages; ++number) {
    std::string message = std::to_string(number);
    message.resize(kBytes, ' ');
    bus->publish("s", message);
  }
  const size_t kept = kMessages - bus->dropped();
  EXPECT_LE(kept, kFit);
  EXPECT_GE(kept, kFit * 9 / 10);
  ASSERT_TRUE(this->bring_back({bus.get()}));
  ASSERT_TRUE(collector.wait_for(kept));
  for (size_t index = 0; index < kept; ++index)
    ASSERT_EQ(std::stoul(collector.message_at(index)), kMessages - kept + index);
  EXPECT_EQ(bus->dropped(), kMessages - kept);
}

TYPED_TEST_P(EventBusOutageContract, PublishNeverBlocksAndFlushKeepsItsDeadlineWhenTheBrokerHangs) {
  const auto bus = this->make_bus();
  ASSERT_TRUE(bus->flush(soon()).is_ok());
  this->harness_->hang();
  const Time start = std::chrono::steady_clock::now();
  const std::string megabyte(kMaxMessageBytes, 'x');
  for (int i = 0; i < 32; ++i) bus->publish("s", megabyte);  // more than sockets hold
  EXPECT_EQ(bus->flush(start + std::chrono::milliseconds(300)).code(), Code::kDeadline);
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::milliseconds(1500));
  this->harness_->resume();
  EXPECT_TRUE(wait_until([&] { return bus->flush(soon()).is_ok(); }));
}

REGISTER_TYPED_TEST_SUITE_P(EventBusOutageContract, RenewsSubscriptions, KeepsWhatIsPublishedMeanwhile,
                            DropsTheOldestOfWhatIsTooMuch,
                            PublishNeverBlocksAndFlushKeepsItsDeadlineWhenTheBrokerHangs);

}  // namespace dynamo::events
