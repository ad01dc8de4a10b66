// What every EventBus must do (events/event_bus.h), as tests that each implementation runs:
//
//   struct MyHarness {                                  // one broker
//     static std::string why_skipped();                 // empty: the tests can run here
//     std::unique_ptr<EventBus> make_bus();             // connected to it; destroyed before the harness
//     void take_away();  void bring_back();             // it stops taking connections and breaks those it has
//     void hang();       void resume();                 // it keeps its connections and does nothing
//   };
//   INSTANTIATE_TYPED_TEST_SUITE_P(My, EventBusContract, MyHarness);
//   INSTANTIATE_TYPED_TEST_SUITE_P(My, EventBusOutageContract, MyHarness);   // in event_bus_outage_contract.h
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "events/event_bus.h"
#include "events/testing/collector.h"

namespace dynamo::events {

template <class Harness>
class EventBusContract : public testing::Test {
 protected:
  void SetUp() override {
    if (const std::string why = Harness::why_skipped(); !why.empty()) GTEST_SKIP() << why;
    harness_ = std::make_unique<Harness>();
  }
  std::unique_ptr<EventBus> make_bus() { return harness_->make_bus(); }

  std::unique_ptr<Harness> harness_;
};

// Publishes 0, 1, 2, ... in decimal, never more at once than any bus must keep.
inline void publish_numbers(EventBus& bus, std::string_view subject, int count) {
  for (int number = 0; number < count; ++number) {
    bus.publish(subject, std::to_string(number));
    if (number % 10'000 == 9'999) {
      EXPECT_TRUE(bus.flush(soon()).is_ok());
    }
  }
}

inline std::vector<std::string> numbers(int first, int last) {
  std::vector<std::string> texts;
  for (int number = first; number < last; ++number) texts.push_back(std::to_string(number));
  return texts;
}

TYPED_TEST_SUITE_P(EventBusContract);

TYPED_TEST_P(EventBusContract, DeliversToEverySubscriberThatMatches) {
  const auto one = this->make_bus();
  const auto other = this->make_bus();
  Collector exact, part, rest, stranger, own;
  const auto a = other->subscribe("dynamo.ns.kv.1f", exact.callback());
  const auto b = other->subscribe("dynamo.*.kv.*", part.callback());
  const auto c = other->subscribe("dynamo.>", rest.callback());
  const auto d = other->subscribe("dynamo.ns.kv", stranger.callback());
  const auto e = one->subscribe("dynamo.ns.*.1f", own.callback());
  ASSERT_TRUE(one->flush(soon()).is_ok() && other->flush(soon()).is_ok());
  one->publish("dynamo.ns.kv.1f", "x");
  one->publish("dynamo.ns.load.1f", "y");
  one->publish("dynamo.end", "end");
  ASSERT_TRUE(rest.wait_for(3) && own.wait_for(2) && exact.wait_for(1) && part.wait_for(1));
  EXPECT_THAT(exact.messages(), testing::ElementsAre("x"));
  EXPECT_THAT(part.messages(), testing::ElementsAre("x"));
  EXPECT_THAT(rest.messages(), testing::ElementsAre("x", "y", "end"));
  EXPECT_THAT(rest.subjects(), testing::ElementsAre("dynamo.ns.kv.1f", "dynamo.ns.load.1f", "dynamo.end"));
  EXPECT_THAT(own.messages(), testing::ElementsAre("x", "y"));
  EXPECT_EQ(stranger.count(), 0);
  EXPECT_EQ(one->dropped() + other->dropped(), 0);
}

TYPED_TEST_P(EventBusContract, KeepsTheOrderOfAPublisherOnASubject) {
  constexpr int kMessages = 100'000;
  const auto one = this->make_bus();
  const auto other = this->make_bus();
  Collector collector;
  const auto subscription = other->subscribe("a.b", collector.callback());
  ASSERT_TRUE(other->flush(soon()).is_ok());
  publish_numbers(*one, "a.b", kMessages);
  ASSERT_TRUE(collector.wait_for(kMessages));
  EXPECT_TRUE(collector.messages() == numbers(0, kMessages));
}

TYPED_TEST_P(EventBusContract, CarriesAnyBytes) {
  const auto one = this->make_bus();
  const auto other = this->make_bus();
  std::string every_byte;
  for (int i = 0; i < 1024; ++i) every_byte += static_cast<char>(i);
  const std::vector<std::string> sent = {
      every_byte, "", std::string(7, '\0'), "\r\nPUB a 1\r\nx\r\n", std::string(kMaxMessageBytes, '\xff'), "last"};
  Collector collector;
  const auto subscription = other->subscribe("bytes", collector.callback());
  ASSERT_TRUE(other->flush(soon()).is_ok());
  for (const std::string& message : sent) one->publish("bytes", message);
  ASSERT_TRUE(collector.wait_for(sent.size()));
  EXPECT_TRUE(collector.messages() == sent);
}

TYPED_TEST_P(EventBusContract, AnEndedSubscriptionCallsNoMore) {
  const auto one = this->make_bus();
  const auto other = this->make_bus();
  std::atomic<bool> is_done = false;
  std::thread publisher([&] {
    while (!is_done) {
      publish_numbers(*one, "stream", 100);
      EXPECT_TRUE(one->flush(soon()).is_ok());
    }
  });
  Collector witness;
  const auto kept = other->subscribe("stream", witness.callback());
  for (int round = 0; round < 50; ++round) {
    auto is_alive = std::make_unique<std::atomic<bool>>(true);  // freed memory shows a late call under sanitizers
    std::atomic<int> calls = 0;
    auto subscription = other->subscribe("stream", [&calls, alive = is_alive.get()](auto, auto) {
      EXPECT_TRUE(*alive);
      ++calls;
    });
    EXPECT_TRUE(wait_until([&] { return calls > 0; }));
    subscription.reset();
    *is_alive = false;
    is_alive.reset();
    const int calls_at_end = calls;
    EXPECT_TRUE(witness.wait_for(witness.count() + 10));  // the stream goes on
    EXPECT_EQ(calls, calls_at_end);
  }
  is_done = true;
  publisher.join();
}

TYPED_TEST_P(EventBusContract, MissesNothingAfterAFlush) {
  const auto one = this->make_bus();
  const auto other = this->make_bus();
  for (int round = 0; round < 100; ++round) {
    Collector collector;
    const auto subscription = other->subscribe("round." + std::to_string(round), collector.callback());
    ASSERT_TRUE(other->flush(soon()).is_ok());
    one->publish("round." + std::to_string(round), "first");
    ASSERT_TRUE(collector.wait_for(1)) << round;
    EXPECT_THAT(collector.messages(), testing::ElementsAre("first"));
  }
}

TYPED_TEST_P(EventBusContract, ACallbackMayPublish) {
  const auto one = this->make_bus();
  const auto other = this->make_bus();
  Collector answers;
  const auto server = other->subscribe(
      "ask.*", [&](std::string_view, std::string_view data) { other->publish("answer", std::string(data) + "!"); });
  const auto client = one->subscribe("answer", answers.callback());
  ASSERT_TRUE(one->flush(soon()).is_ok() && other->flush(soon()).is_ok());
  for (int i = 0; i < 1000; ++i) one->publish("ask.x", std::to_string(i));
  ASSERT_TRUE(answers.wait_for(1000));
  EXPECT_EQ(answers.messages().back(), "999!");
}

TYPED_TEST_P(EventBusContract, ServesSeveralThreadsAtOnce) {
  constexpr int kThreads = 4;
  constexpr int kMessages = 5'000;
  const auto one = this->make_bus();
  const auto other = this->make_bus();
  std::vector<Collector> collectors(kThreads);
  std::vector<std::thread> threads;
  for (int index = 0; index < kThreads; ++index) {
    threads.emplace_back([&, index] {
      const std::string subject = "thread." + std::to_string(index);
      const auto subscription = other->subscribe(subject, collectors[index].callback());
      EXPECT_TRUE(other->flush(soon()).is_ok());
      publish_numbers(*one, subject, kMessages);
      EXPECT_TRUE(one->flush(soon()).is_ok());
      EXPECT_TRUE(collectors[index].wait_for(kMessages));
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const Collector& collector : collectors) EXPECT_TRUE(collector.messages() == numbers(0, kMessages));
}

TYPED_TEST_P(EventBusContract, KeepsOnlySoMuchForASlowSubscriber) {
  constexpr size_t kFit = kMaxUndeliveredBytes / kMaxMessageBytes;
  constexpr size_t kMessages = kFit + 20;
  const auto one = this->make_bus();
  const auto other = this->make_bus();
  std::atomic<bool> may_go_on = false;
  Collector slow, quick;
  const auto blocked = other->subscribe("big", [&, collect = slow.callback()](auto subject, auto data) {
    EXPECT_TRUE(wait_until([&] { return may_go_on.load(); }));
    collect(subject, data.substr(0, 8));
  });
  const auto witness = other->subscribe(
      "big", [collect = quick.callback()](auto subject, auto data) { collect(subject, data.substr(0, 8)); });
  ASSERT_TRUE(other->flush(soon()).is_ok());
  for (size_t number = 0; number < kMessages; ++number) {
    std::string message = std::to_string(number);
    message.resize(kMaxMessageBytes, ' ');
    one->publish("big", message);
    ASSERT_TRUE(one->flush(soon()).is_ok());
  }
  ASSERT_TRUE(quick.wait_for(kMessages)) << "a slow subscriber held up another";
  ASSERT_TRUE(wait_until([&] { return other->dropped() >= kMessages - kFit - 2; }));
  may_go_on = true;
  ASSERT_TRUE(wait_until([&] { return slow.count() + other->dropped() == kMessages; })) << "not all are accounted for";
  // One may be with the callback beyond what is kept, framing counts too, and the last messages may have come after the release.
  EXPECT_LE(slow.count(), kFit + 2);
  ASSERT_GE(slow.count(), kFit - 2);
  for (size_t index = 0; index < kFit - 2; ++index)
    EXPECT_EQ(std::stoul(slow.message_at(index)), index) << "the newest are dropped";
}

REGISTER_TYPED_TEST_SUITE_P(EventBusContract, DeliversToEverySubscriberThatMatches, KeepsTheOrderOfAPublisherOnASubject,
                            CarriesAnyBytes, AnEndedSubscriptionCallsNoMore, MissesNothingAfterAFlush,
                            ACallbackMayPublish, ServesSeveralThreadsAtOnce, KeepsOnlySoMuchForASlowSubscriber);

}  // namespace dynamo::events
