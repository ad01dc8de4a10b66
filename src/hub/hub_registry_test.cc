// A client of a hub as a discovery::Registry: its contract, and what only the hub does.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/testing/patience.h"
#include "discovery/testing/registry_outage_contract.h"
#include "discovery/testing/seen_changes.h"
#include "hub/hub_client.h"
#include "hub/testing/hub_host.h"
#include "hub/testing/raw_peer.h"

namespace dynamo::hub {
namespace {

using discovery::is_gone;
using discovery::is_now;
using discovery::SeenChanges;
using std::chrono::seconds;
using testing::HasSubstr;

struct HubHarness {
  static std::string why_skipped() { return ""; }
  std::unique_ptr<discovery::Registry> make_registry() const { return host.client(); }
  std::string address() const { return host.address(); }
  void take_away() { host.stop(); }
  void bring_back() { host.start(); }  // it has forgotten everything; its clients have not
  void bring_back_empty() { host.start(); }
  void expire_leases() {}

  HubHost host;
};

TEST(HubRegistry, KeysOfAVanishedClientGoAfterTheirTimeToLive) {
  HubHost hub;
  const auto client = hub.client();
  SeenChanges seen;
  const auto watch = client->watch("", seen.callback());
  RawPeer vanishing(hub.port());
  vanishing.greet();
  message::Request request;
  request.mutable_grant()->set_lease(7);
  request.mutable_grant()->set_time_to_live_ms(2000);
  message::KeyValue& wish = *request.mutable_grant()->add_wishes();
  wish.set_key("k");
  wish.set_value("v");
  vanishing.send(request);
  ASSERT_TRUE(seen.wait_for({is_now("k", "v")}));
  const Time vanished = Clock::steady().now();
  vanishing.vanish();
  ASSERT_TRUE(seen.wait_for({is_now("k", "v"), is_gone("k")}));
  EXPECT_GT(Clock::steady().now() - vanished, seconds(1));
}

TEST(HubRegistry, ARestartedHubIsGivenTimeToHearOfKeysAndThenBelieved) {
  HubHost hub;
  const auto worker = hub.client();
  const auto watcher = hub.client();
  SeenChanges seen;
  const auto watch = watcher->watch("", seen.callback());
  const auto lease = worker->lease(seconds(60));
  lease->put("announced", "1");
  ASSERT_TRUE(lease->sync(soon()).is_ok());
  ASSERT_TRUE(watcher->write("forgotten", "1", soon()).is_ok());
  ASSERT_TRUE(seen.wait_for({is_now("announced", "1"), is_now("forgotten", "1")}));
  hub.stop();
  hub.start();
  EXPECT_TRUE(seen.wait_for({is_now("announced", "1"), is_now("forgotten", "1"), is_gone("forgotten")}));
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

namespace dynamo::discovery {

using hub::HubHarness;
INSTANTIATE_TYPED_TEST_SUITE_P(Hub, RegistryContract, HubHarness);
INSTANTIATE_TYPED_TEST_SUITE_P(Hub, RegistryOutageContract, HubHarness);

}  // namespace dynamo::discovery
