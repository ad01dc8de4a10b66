// A client of a hub as an events::EventBus: its contract, and what concerns both of its interfaces.
#include <gtest/gtest.h>

#include <future>

#include "base/testing/patience.h"
#include "events/testing/event_bus_outage_contract.h"
#include "hub/hub_client.h"
#include "hub/testing/hub_host.h"

namespace dynamo::hub {
namespace {

struct HubBusHarness {
  static std::string why_skipped() { return ""; }
  std::unique_ptr<events::EventBus> make_bus() const { return host.client(); }
  void take_away() { host.stop(); }
  void bring_back() { host.start(); }
  void hang() { host.hang(); }
  void resume() { host.resume(); }

  HubHost host;
};

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

}  // namespace
}  // namespace dynamo::hub

namespace dynamo::events {

using hub::HubBusHarness;
INSTANTIATE_TYPED_TEST_SUITE_P(Hub, EventBusContract, HubBusHarness);
INSTANTIATE_TYPED_TEST_SUITE_P(Hub, EventBusOutageContract, HubBusHarness);

}  // namespace dynamo::events
