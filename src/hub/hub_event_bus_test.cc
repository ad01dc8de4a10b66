// The contract of events::EventBus, kept by a client of a hub.
#include <gtest/gtest.h>

#include <future>
#include <numeric>
#include <thread>

#include "base/testing/patience.h"
#include "hub/hub_client.h"
#include "hub/testing/hub_host.h"

namespace dynamo::hub {
namespace {

using Message = std::pair<std::string, std::string>;

events::OnMessage into(Seen<Message>* seen) {
  return
      [seen](std::string_view subject, std::string_view data) { seen->add({std::string(subject), std::string(data)}); };
}

TEST(HubEventBus, DeliversWhatMatchesToEveryoneAndToItsPublisher) {
  HubHost hub;
  const auto publisher = hub.client();
  const auto other = hub.client();
  Seen<Message> own;
  Seen<Message> parts;
  Seen<Message> rest;
  const auto first = publisher->subscribe("a.b.c", into(&own));
  const auto second = other->subscribe("a.*.c", into(&parts));
  const auto third = other->subscribe("a.>", into(&rest));
  ASSERT_TRUE(publisher->flush(soon()).is_ok());
  ASSERT_TRUE(other->flush(soon()).is_ok());
  publisher->publish("a.b.c", "1");
  publisher->publish("a.x.c", "2");
  publisher->publish("a.b", "3");
  publisher->publish("b", "4");
  publisher->publish("a.end", "");
  ASSERT_TRUE(rest.wait_for_count(4));
  EXPECT_EQ(rest.all(), (std::vector<Message>{{"a.b.c", "1"}, {"a.x.c", "2"}, {"a.b", "3"}, {"a.end", ""}}));
  EXPECT_EQ(parts.all(), (std::vector<Message>{{"a.b.c", "1"}, {"a.x.c", "2"}}));
  ASSERT_TRUE(own.wait_for_count(1));
  EXPECT_EQ(own.all(), (std::vector<Message>{{"a.b.c", "1"}}));
  EXPECT_EQ(publisher->dropped() + other->dropped(), 0U);
}

TEST(HubEventBus, KeepsTheOrderOfAHundredThousandMessages) {
  constexpr int kMessages = 100'000;
  HubHost hub;
  const auto publisher = hub.client();
  const auto other = hub.client();
  std::vector<int> seen;
  std::promise<void> is_complete;
  const auto subscription = other->subscribe("numbers", [&](std::string_view, std::string_view data) {
    seen.push_back(std::stoi(std::string(data)));
    if (seen.size() == kMessages) is_complete.set_value();
  });
  ASSERT_TRUE(other->flush(soon()).is_ok());
  for (int i = 0; i < kMessages; ++i) publisher->publish("numbers", std::to_string(i));
  ASSERT_EQ(is_complete.get_future().wait_for(std::chrono::seconds(20)), std::future_status::ready);
  std::vector<int> wanted(kMessages);
  std::iota(wanted.begin(), wanted.end(), 0);
  EXPECT_EQ(seen, wanted);
}

TEST(HubEventBus, CarriesTheLargestMessage) {
  HubHost hub;
  const auto client = hub.client();
  Seen<Message> seen;
  const auto subscription = client->subscribe("large", into(&seen));
  std::string data(events::kMaxMessageBytes, '\0');
  for (size_t i = 0; i < data.size(); ++i) data[i] = static_cast<char>(i * 7);
  client->publish("large", data);
  ASSERT_TRUE(client->flush(soon()).is_ok());
  ASSERT_TRUE(seen.wait_for_count(1));
  EXPECT_TRUE(seen.all().front().second == data);
}

TEST(HubEventBus, CallbacksMayPublish) {
  HubHost hub;
  const auto client = hub.client();
  Seen<Message> seen;
  const auto asked =
      client->subscribe("question", [&](std::string_view, std::string_view data) { client->publish("answer", data); });
  const auto answered = client->subscribe("answer", into(&seen));
  ASSERT_TRUE(client->flush(soon()).is_ok());
  client->publish("question", "42");
  ASSERT_TRUE(seen.wait_for_count(1));
  EXPECT_EQ(seen.all().front(), Message("answer", "42"));
}

TEST(HubEventBus, EndedSubscriptionIsNotCalled) {
  HubHost hub;
  const auto client = hub.client();
  for (int round = 0; round < 20; ++round) {
    std::atomic<bool> is_ended = false;
    auto subscription = client->subscribe("s", [&](std::string_view, std::string_view) { EXPECT_FALSE(is_ended); });
    ASSERT_TRUE(client->flush(soon()).is_ok());
    for (int i = 0; i < 100; ++i) client->publish("s", "x");
    subscription.reset();
    is_ended = true;
  }
  ASSERT_TRUE(client->flush(soon()).is_ok());
}

TEST(HubEventBus, SlowCallbackStopsNeitherWatchesNorCalls) {
  HubHost hub;
  const auto client = hub.client();
  std::promise<void> is_in;
  std::promise<void> may_go;
  const auto subscription = client->subscribe("slow", [&](std::string_view, std::string_view) {
    is_in.set_value();
    may_go.get_future().wait();
  });
  client->publish("slow", "");
  is_in.get_future().wait();
  Seen<size_t> views;
  const auto watch =
      client->watch("", [&](std::span<const discovery::KeyChange> changes) { views.add(changes.size()); });
  EXPECT_TRUE(views.wait_for_count(1));
  EXPECT_TRUE(client->list("", soon()).is_ok());
  may_go.set_value();
}

TEST(HubEventBus, DropsTheOldestWhileAwayAndNeverBlocks) {
  HubHost hub;
  const auto client = hub.client();
  Seen<Message> seen;
  const auto subscription = client->subscribe("s", into(&seen));
  ASSERT_TRUE(client->flush(soon()).is_ok());
  hub.stop();
  while (client->is_connected())
    std::this_thread::yield();  // what goes to a connection that is ending is lost, not dropped
  constexpr size_t kSent = 20;  // of 1 MiB each; with what carries them, 7 fit into kMaxUnsentBytes
  for (size_t i = 0; i < kSent; ++i)
    client->publish("s", std::string(events::kMaxMessageBytes, static_cast<char>('a' + i)));
  client->publish("s", "last");
  EXPECT_EQ(client->dropped(), kSent - 7);
  hub.start();
  ASSERT_TRUE(seen.wait([](const auto& all) { return !all.empty() && all.back().second == "last"; }));
  EXPECT_EQ(seen.all().size(), 8U);
  EXPECT_EQ(seen.all().at(0).second.front(), static_cast<char>('a' + kSent - 7));
}

TEST(HubEventBus, SubscriptionsOutliveTheHub) {
  HubHost hub;
  const auto publisher = hub.client();
  const auto subscriber = hub.client();
  Seen<Message> seen;
  const auto subscription = subscriber->subscribe("s", into(&seen));
  ASSERT_TRUE(subscriber->flush(soon()).is_ok());
  hub.stop();
  hub.start();
  while (!subscriber->flush(soon()).is_ok()) {
  }  // the first may have met the connection that broke
  publisher->publish("s", "after");
  ASSERT_TRUE(seen.wait_for_count(1));
  EXPECT_EQ(seen.all().front(), Message("s", "after"));
}

}  // namespace
}  // namespace dynamo::hub
