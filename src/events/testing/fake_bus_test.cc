#include "events/testing/fake_bus.h"

#include "events/testing/event_bus_outage_contract.h"

namespace dynamo::events {
namespace {

struct FakeHarness {
  static std::string why_skipped() { return {}; }
  std::unique_ptr<EventBus> make_bus() { return std::make_unique<FakeBus>(broker); }
  void take_away() { broker.take_away(); }
  void bring_back() { broker.bring_back(); }
  void hang() { broker.hang(); }
  void resume() { broker.bring_back(); }

  FakeBroker broker;
};

INSTANTIATE_TYPED_TEST_SUITE_P(Fake, EventBusContract, FakeHarness);
INSTANTIATE_TYPED_TEST_SUITE_P(Fake, EventBusOutageContract, FakeHarness);

struct FaultyFakeBus : testing::Test {
  FakeBroker broker;
  FakeBus bus{broker};
  Collector collector;
  std::unique_ptr<Subscription> subscription = bus.subscribe(">", collector.callback());
};

TEST_F(FaultyFakeBus, DropsAndDuplicates) {
  broker.drop_next(1);
  broker.duplicate_next(1);
  for (const char* text : {"lost", "twice", "once"}) bus.publish("s", text);
  broker.settle();
  EXPECT_THAT(collector.messages(), testing::ElementsAre("twice", "twice", "once"));
}

TEST_F(FaultyFakeBus, HoldsAndReleasesInEitherOrder) {
  broker.hold();
  for (const char* text : {"1", "2", "3"}) bus.publish("s", text);
  broker.settle();
  EXPECT_EQ(collector.count(), 0);
  EXPECT_EQ(broker.held(), 3);
  broker.release_reversed();
  bus.publish("s", "4");
  broker.settle();
  EXPECT_THAT(collector.messages(), testing::ElementsAre("3", "2", "1", "4"));
}

}  // namespace
}  // namespace dynamo::events
