#include "events/nats/nats_bus.h"
#include "events/testing/event_bus_outage_contract.h"
#include "events/testing/nats_process.h"

namespace dynamo::events {
namespace {

struct NatsHarness {
  static std::string why_skipped() { return NatsProcess::program().empty() ? "nats-server is not installed" : ""; }
  std::unique_ptr<EventBus> make_bus() {
    auto bus = NatsBus::connect(nats_options_from(server->address()).value(), soon());
    CHECK_OK(bus);
    return std::move(bus).value();
  }
  void take_away() { server->kill(); }
  void bring_back() { EXPECT_TRUE(server->restart().is_ok()); }
  void hang() { server->hang(); }
  void resume() { server->resume(); }

  std::unique_ptr<NatsProcess> server = NatsProcess::start().value();
};

INSTANTIATE_TYPED_TEST_SUITE_P(Nats, EventBusContract, NatsHarness);
INSTANTIATE_TYPED_TEST_SUITE_P(Nats, EventBusOutageContract, NatsHarness);

}  // namespace
}  // namespace dynamo::events
