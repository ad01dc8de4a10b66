// The second half of what every Registry must do: while the store is away, when it is back, and when it forgot.
// See registry_contract.h.
#pragma once

#include <algorithm>
#include <chrono>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "discovery/testing/registry_contract.h"

namespace dynamo::discovery {

template <class Harness>
class RegistryOutageContract : public RegistryContract<Harness> {
 protected:
  // Outlasts the outages of these tests.
  static constexpr std::chrono::seconds kLongTimeToLive{60};

  // Returns: whether every registry saw it.
  bool take_away(const std::vector<Registry*>& registries) {
    this->harness_->take_away();
    return std::ranges::all_of(registries, [](Registry* registry) {
      return wait_until([&] { return !registry->list("", shortly()).is_ok() && !registry->is_connected(); });
    });
  }
  bool all_are_back(const std::vector<Registry*>& registries) {
    return std::ranges::all_of(registries, [](Registry* registry) {
      return wait_until([&] { return registry->list("", soon()).is_ok() && registry->is_connected(); });
    });
  }
  static Time shortly() { return Clock::steady().now() + std::chrono::milliseconds(100); }
};

TYPED_TEST_SUITE_P(RegistryOutageContract);

TYPED_TEST_P(RegistryOutageContract, WatchersKeepTheLastViewAndAreToldTheDifference) {
  const auto worker = this->make_registry();
  const auto watcher = this->make_registry();
  SeenChanges seen;
  const auto watch = watcher->watch("", seen.callback());
  ASSERT_TRUE(seen.wait_for_first());
  const auto lease = worker->lease(this->kLongTimeToLive);
  std::vector<KeyChange> wanted;
  for (const char* key : {"changes", "goes", "stays"}) {
    lease->put(key, "1");
    ASSERT_TRUE(lease->sync(soon()).is_ok());
    wanted.push_back(is_now(key, "1"));
  }
  ASSERT_TRUE(*lease->claim("claimed", "1", soon()));
  wanted.push_back(is_now("claimed", "1"));
  ASSERT_TRUE(seen.wait_for(wanted));

  ASSERT_TRUE(this->take_away({worker.get(), watcher.get()}));
  lease->put("changes", "2");
  lease->put("comes", "2");
  lease->remove("goes");
  lease->put("stays", "2");
  lease->put("stays", "1");
  EXPECT_EQ(seen.all(), wanted) << "the last view stands";
  this->harness_->bring_back();
  ASSERT_TRUE(this->all_are_back({worker.get(), watcher.get()}));
  const Status synced = lease->sync(soon());
  ASSERT_TRUE(synced.is_ok()) << synced.to_string();
  ASSERT_TRUE(seen.wait_for_view({{"changes", "2"}, {"claimed", "1"}, {"comes", "2"}, {"stays", "1"}}));
  const std::vector<KeyChange> told = seen.all();
  EXPECT_THAT(std::vector(told.begin() + static_cast<ptrdiff_t>(wanted.size()), told.end()),
              testing::UnorderedElementsAre(is_now("changes", "2"), is_now("comes", "2"), is_gone("goes")));
}

TYPED_TEST_P(RegistryOutageContract, ALostLeaseIsAnnouncedAgain) {
  const auto worker = this->make_registry();
  const auto watcher = this->make_registry();
  SeenChanges seen;
  const auto watch = watcher->watch("", seen.callback());
  const auto lease = worker->lease(this->kTimeToLive);
  lease->put("put", "1");
  lease->put("removed", "1");
  ASSERT_TRUE(lease->sync(soon()).is_ok());
  ASSERT_TRUE(*lease->claim("claimed", "1", soon()));
  lease->remove("removed");
  ASSERT_TRUE(lease->sync(soon()).is_ok());
  const std::map<std::string, std::string> wishes = {{"claimed", "1"}, {"put", "1"}};
  ASSERT_TRUE(seen.wait_for_view(wishes));
  ASSERT_TRUE(this->take_away({worker.get(), watcher.get()}));
  this->harness_->bring_back_empty();
  ASSERT_TRUE(wait_until([&] {
    const auto keys = watcher->list("", soon());
    return keys.is_ok() && *keys == wishes;
  }));
  ASSERT_TRUE(watcher->write("end", "", soon()).is_ok());
  EXPECT_TRUE(seen.wait_for_view({{"claimed", "1"}, {"end", ""}, {"put", "1"}}));
}

TYPED_TEST_P(RegistryOutageContract, WhatBeginsWhileTheStoreIsAwayTakesEffectWhenItIsBack) {
  const auto registry = this->make_registry();
  const auto early = registry->lease(this->kTimeToLive);
  ASSERT_TRUE(early->sync(soon()).is_ok());
  ASSERT_TRUE(this->take_away({registry.get()}));
  SeenChanges seen;
  const auto watch = registry->watch("", seen.callback());
  auto ended = registry->watch("", [](auto) { ADD_FAILURE() << "it had ended"; });
  ended.reset();
  const auto lease = registry->lease(this->kTimeToLive);
  lease->put("late", "1");
  early->put("early", "1");
  this->harness_->bring_back();
  EXPECT_TRUE(seen.wait_for_view({{"early", "1"}, {"late", "1"}}));
  EXPECT_TRUE(early->sync(soon()).is_ok() && lease->sync(soon()).is_ok());
}

TYPED_TEST_P(RegistryOutageContract, CallsWithoutAStoreEndAndNameIt) {
  const auto registry = this->make_registry();
  const auto lease = registry->lease(this->kTimeToLive);
  lease->put("k", "1");
  ASSERT_TRUE(lease->sync(soon()).is_ok());
  ASSERT_TRUE(this->take_away({registry.get()}));
  lease->put("k", "2");
  const Status synced = lease->sync(this->shortly());
  EXPECT_EQ(synced.code(), Code::kDeadline);
  EXPECT_THAT(synced.text(), testing::HasSubstr(this->harness_->address()));
  for (const Status& status :
       {registry->list("", this->shortly()).status(), registry->write("w", "v", this->shortly()),
        registry->write("w", std::nullopt, this->shortly()), lease->claim("slot", "v", this->shortly()).status()}) {
    EXPECT_TRUE(status.code() == Code::kDeadline || status.code() == Code::kUnavailable) << status.to_string();
    EXPECT_THAT(status.text(), testing::HasSubstr(this->harness_->address()));
  }
  this->harness_->bring_back();
  EXPECT_TRUE(lease->sync(soon()).is_ok());
  EXPECT_TRUE(wait_until([&] { return registry->write("end", "", soon()).is_ok(); }));
  EXPECT_EQ(this->list(*registry, "")["k"], "2");
  EXPECT_FALSE(this->list(*registry, "").contains("slot")) << "a claim that failed is no wish";
}

TYPED_TEST_P(RegistryOutageContract, KeysOfALeaseThatEndedMeanwhileGoAfterTheirTimeToLive) {
  const auto worker = this->make_registry();
  const auto watcher = this->make_registry();
  SeenChanges seen;
  const auto watch = watcher->watch("", seen.callback());
  const auto kept = worker->lease(this->kLongTimeToLive);
  auto lease = worker->lease(std::chrono::seconds(2));
  kept->put("stays", "1");
  lease->put("goes", "1");
  ASSERT_TRUE(kept->sync(soon()).is_ok() && lease->sync(soon()).is_ok());
  ASSERT_TRUE(seen.wait_for_view({{"goes", "1"}, {"stays", "1"}}));
  ASSERT_TRUE(this->take_away({worker.get(), watcher.get()}));
  lease.reset();
  this->harness_->bring_back();
  this->harness_->expire_leases();
  ASSERT_TRUE(seen.wait_for_view({{"stays", "1"}}));
  EXPECT_EQ(seen.all().size(), 3) << "one key went, nothing else was told";
}

REGISTER_TYPED_TEST_SUITE_P(RegistryOutageContract, WatchersKeepTheLastViewAndAreToldTheDifference,
                            ALostLeaseIsAnnouncedAgain, WhatBeginsWhileTheStoreIsAwayTakesEffectWhenItIsBack,
                            CallsWithoutAStoreEndAndNameIt, KeysOfALeaseThatEndedMeanwhileGoAfterTheirTimeToLive);

}  // namespace dynamo::discovery
