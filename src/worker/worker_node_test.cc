#include "worker/worker_node.h"

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

TEST(ClaimName, GivesTheFirstFreeNameOfTheRole) {
  const auto store = std::make_shared<discovery::FakeStore>();
  discovery::FakeRegistry registry(store);
  const auto one = registry.lease(std::chrono::seconds(10));
  auto two = registry.lease(std::chrono::seconds(10));
  const auto claim = [&](discovery::Lease* lease, Role role, uint64_t instance) {
    return claim_name(&registry, lease, "ns", role, instance, soon()).value();
  };
  EXPECT_EQ(claim(one.get(), Role::kPrefill, 1), "prefill-worker-1");
  EXPECT_EQ(claim(two.get(), Role::kPrefill, 2), "prefill-worker-2");
  EXPECT_EQ(claim(one.get(), Role::kDecode, 1), "decode-worker-1");
  two.reset();
  EXPECT_EQ(claim(one.get(), Role::kPrefill, 3), "prefill-worker-2");
}

TEST(ClaimName, WaitsForARegistryThatIsAwayUntilItsTimeIsUp) {
  const auto store = std::make_shared<discovery::FakeStore>();
  discovery::FakeRegistry inner(store);
  const auto lease = inner.lease(std::chrono::seconds(10));
  FlakyRegistry registry(&inner, /*outages=*/2);
  const auto name = claim_name(&registry, lease.get(), "ns", Role::kAggregated, 1, soon());
  ASSERT_TRUE(name.is_ok()) << name.status().to_string();
  EXPECT_EQ(*name, "worker-1");
  FlakyRegistry gone(&inner, /*outages=*/1'000'000);
  const Time until = Clock::steady().now() + std::chrono::milliseconds(500);
  EXPECT_EQ(claim_name(&gone, lease.get(), "ns", Role::kAggregated, 1, until).status().code(), Code::kUnavailable);
}

}  // namespace
}  // namespace dynamo::worker
