#include "worker/membership.h"

#include <gtest/gtest.h>

#include "base/testing/patience.h"
#include "discovery/testing/fake_registry.h"

namespace dynamo::worker {
namespace {

using discovery::Role;

// Says that the store is away for the first `outages` calls of list().
class FlakyRegistry final : public discovery::Registry {
 public:
  FlakyRegistry(discovery::Registry* inner, int outages) : inner_(inner), outages_(outages) {}
  std::unique_ptr<discovery::Lease> lease(std::chrono::seconds time_to_live) override {
    return inner_->lease(time_to_live);
  }
  std::unique_ptr<discovery::Watch> watch(std::string prefix, discovery::OnChanges on_changes) override {
    return inner_->watch(std::move(prefix), std::move(on_changes));
  }
  Result<std::map<std::string, std::string>> list(std::string prefix, Time until) override {
    if (outages_ > 0) {
      --outages_;
      return unavailable("connection refused");
    }
    return inner_->list(std::move(prefix), until);
  }
  Status write(std::string key, std::optional<std::string> value, Time until) override {
    return inner_->write(std::move(key), std::move(value), until);
  }
  bool is_connected() const override { return inner_->is_connected(); }

 private:
  discovery::Registry* inner_;
  int outages_;
};

std::unique_ptr<Membership> member(discovery::Registry* registry, Role role, uint64_t instance) {
  discovery::WorkerInstance self;
  self.instance = instance;
  self.role = role;
  return std::make_unique<Membership>(registry, "ns", std::move(self), std::chrono::seconds(10));
}

std::string claimed(Membership* member) {
  CHECK(member->claim_name(soon()).is_ok());
  return member->instance().name;
}

TEST(Membership, HasTheFirstFreeNameOfItsRole) {
  const auto store = std::make_shared<discovery::FakeStore>();
  discovery::FakeRegistry registry(store);
  const auto one = member(&registry, Role::kPrefill, 1);
  auto two = member(&registry, Role::kPrefill, 2);
  const auto three = member(&registry, Role::kDecode, 3);
  EXPECT_EQ(claimed(one.get()), "prefill-worker-1");
  EXPECT_EQ(claimed(two.get()), "prefill-worker-2");
  EXPECT_EQ(claimed(three.get()), "decode-worker-1");
  two.reset();
  EXPECT_EQ(claimed(member(&registry, Role::kPrefill, 4).get()), "prefill-worker-2");
}

TEST(Membership, WaitsForARegistryThatIsAwayUntilItsTimeIsUp) {
  const auto store = std::make_shared<discovery::FakeStore>();
  discovery::FakeRegistry inner(store);
  FlakyRegistry registry(&inner, /*outages=*/2);
  EXPECT_EQ(claimed(member(&registry, Role::kAggregated, 1).get()), "worker-1");
  FlakyRegistry gone(&inner, /*outages=*/1'000'000);
  const Time until = Clock::steady().now() + std::chrono::milliseconds(500);
  EXPECT_EQ(member(&gone, Role::kAggregated, 1)->claim_name(until).code(), Code::kUnavailable);
}

TEST(Membership, WhoStopsWaitsForNoRegistry) {
  const auto store = std::make_shared<discovery::FakeStore>();
  discovery::FakeRegistry inner(store);
  FlakyRegistry gone(&inner, /*outages=*/1'000'000);
  const auto leaver = member(&gone, Role::kAggregated, 1);
  leaver->stop_waiting();
  const Time begun = Clock::steady().now();
  EXPECT_EQ(leaver->claim_name(Time::max()).code(), Code::kUnavailable);
  EXPECT_LT(Clock::steady().now() - begun, std::chrono::seconds(60)) << "a registry that is away is waited for so long";
}

}  // namespace
}  // namespace dynamo::worker
