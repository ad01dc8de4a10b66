// The contract of discovery::Registry, kept by a client of a hub.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

#include "hub/hub_client.h"
#include "hub/testing/hub_host.h"
#include "hub/testing/patience.h"
#include "hub/testing/raw_peer.h"

namespace dynamo::hub {
namespace {

using discovery::KeyChange;
using std::chrono::seconds;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Pair;
using Call = std::vector<KeyChange>;  // one call of a watch's callback

discovery::OnChanges into(Seen<Call>* seen) {
  return [seen](std::span<const KeyChange> changes) { seen->add(Call(changes.begin(), changes.end())); };
}

// All changes that were told, one after the other.
std::vector<KeyChange> flat(const std::vector<Call>& calls) {
  std::vector<KeyChange> changes;
  for (const Call& call : calls) changes.insert(changes.end(), call.begin(), call.end());
  return changes;
}

bool wait_for_changes(Seen<Call>* seen, const std::vector<KeyChange>& wanted) {
  return seen->wait([&](const std::vector<Call>& calls) { return flat(calls) == wanted; });
}

KeyChange is_now(std::string key, std::string value) {
  return {std::move(key), std::move(value)};
}
KeyChange is_gone(std::string key) {
  return {std::move(key), std::nullopt};
}

TEST(HubRegistry, TellsAnEmptyViewToo) {
  HubHost hub;
  const auto client = hub.client();
  Seen<Call> seen;
  const auto watch = client->watch("nothing/", into(&seen));
  ASSERT_TRUE(seen.wait_for_count(1));
  EXPECT_EQ(seen.all(), std::vector<Call>{Call()});
}

TEST(HubRegistry, TellsEveryKeyFirstAndThenChangesInOrder) {
  HubHost hub;
  const auto writer = hub.client();
  const auto watcher = hub.client();
  const auto lease = writer->lease(seconds(5));
  lease->put("a/2", "two");
  lease->put("a/1", "one");
  lease->put("b/1", "elsewhere");
  ASSERT_TRUE(lease->sync(soon()).is_ok());
  Seen<Call> seen;
  const auto watch = watcher->watch("a/", into(&seen));
  ASSERT_TRUE(seen.wait_for_count(1));
  EXPECT_EQ(seen.all().front(), (Call{is_now("a/1", "one"), is_now("a/2", "two")}));

  std::vector<KeyChange> wanted = flat(seen.all());
  for (int i = 0; i < 1000; ++i) {
    lease->put("a/1", std::to_string(i));
    wanted.push_back(is_now("a/1", std::to_string(i)));
  }
  lease->remove("a/2");
  wanted.push_back(is_gone("a/2"));
  EXPECT_TRUE(wait_for_changes(&seen, wanted));
}

TEST(HubRegistry, SameValueIsNoChange) {
  HubHost hub;
  const auto client = hub.client();
  Seen<Call> seen;
  const auto watch = client->watch("", into(&seen));
  const auto lease = client->lease(seconds(5));
  lease->put("k", "v");
  lease->put("k", "v");
  lease->put("end", "");
  ASSERT_TRUE(wait_for_changes(&seen, {is_now("k", "v"), is_now("end", "")}));
}

TEST(HubRegistry, ListsAndWritesWhatOutlivesTheWriter) {
  HubHost hub;
  const auto reader = hub.client();
  {
    const auto writer = hub.client();
    ASSERT_TRUE(writer->write("settings/a", "1", soon()).is_ok());
    ASSERT_TRUE(writer->write("settings/b", "2", soon()).is_ok());
    ASSERT_TRUE(writer->write("settings/a", std::nullopt, soon()).is_ok());
  }
  const auto keys = reader->list("settings/", soon());
  ASSERT_TRUE(keys.is_ok()) << keys.status().to_string();
  EXPECT_THAT(*keys, ElementsAre(Pair("settings/b", "2")));
}

TEST(HubRegistry, OneOfManyClaimsWins) {
  HubHost hub;
  const auto one = hub.client();
  const auto other = hub.client();
  std::vector<std::unique_ptr<discovery::Lease>> leases;
  for (int i = 0; i < 8; ++i) leases.push_back((i % 2 ? one : other)->lease(seconds(5)));
  std::atomic<int> winners = 0;
  std::vector<std::jthread> threads;
  for (const auto& lease : leases) {
    threads.emplace_back([&] {
      const auto is_ours = lease->claim("slot", "mine", soon());
      ASSERT_TRUE(is_ours.is_ok()) << is_ours.status().to_string();
      if (*is_ours) ++winners;
    });
  }
  threads.clear();
  EXPECT_EQ(winners, 1);
}

TEST(HubRegistry, EndedLeaseTakesItsKeysAlong) {
  HubHost hub;
  const auto client = hub.client();
  auto lease = client->lease(seconds(60));
  lease->put("k", "v");
  ASSERT_TRUE(*lease->claim("slot", "mine", soon()));
  lease.reset();
  const auto keys = client->list("", soon());
  ASSERT_TRUE(keys.is_ok());
  EXPECT_TRUE(keys->empty());
}

TEST(HubRegistry, KeysOfAVanishedClientGoAfterTheirTimeToLive) {
  HubHost hub;
  const auto client = hub.client();
  Seen<Call> seen;
  const auto watch = client->watch("", into(&seen));
  RawPeer vanishing(hub.port());
  vanishing.greet();
  message::Request request;
  request.mutable_grant()->set_lease(7);
  request.mutable_grant()->set_time_to_live_ms(2000);
  message::KeyValue& wish = *request.mutable_grant()->add_wishes();
  wish.set_key("k");
  wish.set_value("v");
  vanishing.send(request);
  ASSERT_TRUE(wait_for_changes(&seen, {is_now("k", "v")}));
  const Time vanished = Clock::steady().now();
  vanishing.vanish();
  ASSERT_TRUE(wait_for_changes(&seen, {is_now("k", "v"), is_gone("k")}));
  const Duration kept = Clock::steady().now() - vanished;
  EXPECT_GT(kept, std::chrono::milliseconds(1000));
  EXPECT_LT(kept, seconds(4));
}

TEST(HubRegistry, WishesOutliveTheHub) {
  HubHost hub;
  const auto worker = hub.client();
  const auto watcher = hub.client();
  Seen<Call> seen;
  const auto watch = watcher->watch("", into(&seen));
  const auto lease = worker->lease(seconds(2));
  lease->put("a", "1");
  lease->put("b", "1");
  ASSERT_TRUE(lease->sync(soon()).is_ok());
  ASSERT_TRUE(*lease->claim("c", "1", soon()));
  ASSERT_TRUE(watcher->write("forgotten", "1", soon()).is_ok());
  std::vector<KeyChange> wanted = {is_now("a", "1"), is_now("b", "1"), is_now("c", "1"), is_now("forgotten", "1")};
  ASSERT_TRUE(wait_for_changes(&seen, wanted));

  hub.stop();
  lease->put("b", "2");  // returns although nobody is there
  lease->remove("c");
  const Status away = lease->sync(Clock::steady().now() + std::chrono::milliseconds(100));
  EXPECT_EQ(away.code(), Code::kDeadline);
  EXPECT_THAT(away.text(), HasSubstr(hub.address()));
  hub.start();
  ASSERT_TRUE(lease->sync(soon()).is_ok());
  const auto keys = watcher->list("", soon());
  ASSERT_TRUE(keys.is_ok()) << keys.status().to_string();
  EXPECT_THAT(*keys, ElementsAre(Pair("a", "1"), Pair("b", "2")));
  // "a" is never told gone: nobody died.
  wanted.insert(wanted.end(), {is_now("b", "2"), is_gone("c"), is_gone("forgotten")});
  EXPECT_TRUE(wait_for_changes(&seen, wanted));
}

TEST(HubRegistry, WatchesBegunWhileTheHubIsAwayBeginWhenItIsBack) {
  HubHost hub;
  const auto client = hub.client();
  hub.stop();
  Seen<Call> seen;
  const auto watch = client->watch("", into(&seen));
  const auto lease = client->lease(seconds(2));
  lease->put("k", "v");
  hub.start();
  EXPECT_TRUE(wait_for_changes(&seen, {is_now("k", "v")}));
}

TEST(HubRegistry, CallsWithoutAHubEndInTime) {
  HubHost hub;
  const auto client = hub.client();
  const auto lease = client->lease(seconds(2));
  hub.stop();
  const auto until = [] { return Clock::steady().now() + std::chrono::milliseconds(50); };
  for (const Status& status : {client->list("", until()).status(), client->write("k", "v", until()),
                               lease->claim("k", "v", until()).status(), client->flush(until())}) {
    EXPECT_TRUE(status.code() == Code::kDeadline || status.code() == Code::kUnavailable) << status.to_string();
  }
}

TEST(HubRegistry, EndedWatchIsNotCalled) {
  HubHost hub;
  const auto client = hub.client();
  const auto lease = client->lease(seconds(5));
  for (int round = 0; round < 50; ++round) {
    std::atomic<bool> is_ended = false;
    auto watch = client->watch("", [&](std::span<const KeyChange>) { EXPECT_FALSE(is_ended); });
    lease->put("k", std::to_string(round));
    watch.reset();
    is_ended = true;
  }
  ASSERT_TRUE(lease->sync(soon()).is_ok());
}

TEST(HubRegistry, SaysWhenTheStoreIsFull) {
  HubOptions options;
  options.limits.store_bytes = 1000;
  HubHost hub(options);
  const auto client = hub.client();
  const Status written = client->write("k", std::string(2000, 'x'), soon());
  EXPECT_EQ(written.code(), Code::kExhausted);
  const auto lease = client->lease(seconds(5));
  lease->put("k", std::string(2000, 'x'));
  const Status synced = lease->sync(Clock::steady().now() + std::chrono::milliseconds(200));
  EXPECT_EQ(synced.code(), Code::kDeadline);
  EXPECT_THAT(synced.text(), HasSubstr("at most 1000 bytes"));
  lease->put("k", "small");
  EXPECT_TRUE(lease->sync(soon()).is_ok());  // the refused lease is offered again
}

}  // namespace
}  // namespace dynamo::hub
