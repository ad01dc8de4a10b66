// What every Registry must do (discovery/registry.h), as tests that each implementation runs:
//
//   struct MyHarness {                                 // one store
//     static std::string why_skipped();                // empty: the tests can run here
//     std::unique_ptr<Registry> make_registry();       // of another process; destroyed before the harness
//     std::string address();                           // what errors name
//     void take_away();  void bring_back();            // it stops answering; what was under leases stands when it is back
//     void bring_back_empty();                         // it has lost the leases and their keys
//     void expire_leases();                            // for stores whose time does not pass by itself
//   };
//   INSTANTIATE_TYPED_TEST_SUITE_P(My, RegistryContract, MyHarness);
//   INSTANTIATE_TYPED_TEST_SUITE_P(My, RegistryOutageContract, MyHarness);   // in registry_outage_contract.h
#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/testing/patience.h"
#include "discovery/registry.h"
#include "discovery/testing/seen_changes.h"

namespace dynamo::discovery {

template <class Harness>
class RegistryContract : public testing::Test {
 protected:
  static constexpr std::chrono::seconds kTimeToLive{5};

  void SetUp() override {
    if (const std::string why = Harness::why_skipped(); !why.empty()) GTEST_SKIP() << why;
    harness_ = std::make_unique<Harness>();
  }
  std::unique_ptr<Registry> make_registry() { return harness_->make_registry(); }
  // The keys under `prefix`; none if that fails, which is a failure of the test.
  static std::map<std::string, std::string> list(Registry& registry, const std::string& prefix) {
    const auto keys = registry.list(prefix, soon());
    EXPECT_TRUE(keys.is_ok()) << keys.status().to_string();
    return keys.is_ok() ? *keys : std::map<std::string, std::string>();
  }

  std::unique_ptr<Harness> harness_;
};

TYPED_TEST_SUITE_P(RegistryContract);

TYPED_TEST_P(RegistryContract, TheFirstCallCarriesEveryKeyEvenIfThereIsNone) {
  const auto one = this->make_registry();
  const auto other = this->make_registry();
  const auto lease = one->lease(this->kTimeToLive);
  lease->put("a/2", "two");
  lease->put("a/1", "one");
  ASSERT_TRUE(lease->sync(soon()).is_ok());
  ASSERT_TRUE(one->write("a/3", "three", soon()).is_ok());
  SeenChanges some, none;
  const auto watch = other->watch("a/", some.callback());
  const auto empty = other->watch("nothing/", none.callback());
  ASSERT_TRUE(some.wait_for_first() && none.wait_for_first());
  EXPECT_THAT(some.first(),
              testing::UnorderedElementsAre(is_now("a/1", "one"), is_now("a/2", "two"), is_now("a/3", "three")));
  EXPECT_THAT(none.first(), testing::IsEmpty());
  EXPECT_TRUE(one->is_connected() && other->is_connected());
}

TYPED_TEST_P(RegistryContract, TellsEveryChangeInOrder) {
  const auto one = this->make_registry();
  const auto other = this->make_registry();
  SeenChanges near, far;
  const auto own = one->watch("k/", near.callback());
  const auto watch = other->watch("k/", far.callback());
  ASSERT_TRUE(near.wait_for_first() && far.wait_for_first());
  const auto lease = one->lease(this->kTimeToLive);
  std::vector<KeyChange> wanted;
  for (int round = 0; round < 20; ++round) {
    const std::string value = std::to_string(round);
    lease->put("k/b", value);
    ASSERT_TRUE(lease->sync(soon()).is_ok());
    ASSERT_TRUE(other->write("k/a", value, soon()).is_ok());
    wanted.insert(wanted.end(), {is_now("k/b", value), is_now("k/a", value)});
  }
  lease->remove("k/b");
  ASSERT_TRUE(lease->sync(soon()).is_ok());
  ASSERT_TRUE(other->write("k/a", std::nullopt, soon()).is_ok());
  wanted.insert(wanted.end(), {is_gone("k/b"), is_gone("k/a")});
  EXPECT_TRUE(near.wait_for(wanted));
  EXPECT_TRUE(far.wait_for(wanted));
}

TYPED_TEST_P(RegistryContract, TheSameValueAgainIsNoChange) {
  const auto registry = this->make_registry();
  SeenChanges seen;
  const auto watch = registry->watch("", seen.callback());
  ASSERT_TRUE(seen.wait_for_first());
  const auto lease = registry->lease(this->kTimeToLive);
  for (int round = 0; round < 3; ++round) {
    lease->put("k", "v");
    ASSERT_TRUE(lease->sync(soon()).is_ok());
    ASSERT_TRUE(registry->write("w", "v", soon()).is_ok());
  }
  ASSERT_TRUE(registry->write("never", std::nullopt, soon()).is_ok());
  ASSERT_TRUE(registry->write("end", "", soon()).is_ok());
  EXPECT_TRUE(seen.wait_for({is_now("k", "v"), is_now("w", "v"), is_now("end", "")}));
}

TYPED_TEST_P(RegistryContract, APrefixNamesExactlyTheKeysThatBeginWithIt) {
  const auto registry = this->make_registry();
  SeenChanges folder, high, everything;
  const auto a = registry->watch("a/", folder.callback());
  const auto b = registry->watch("a\xff", high.callback());
  const auto c = registry->watch("", everything.callback());
  const std::vector<std::string> keys = {"a", "a/", "a/x", "a0", "a\xff", "a\xff\xff", "b"};
  std::map<std::string, std::string> all;
  for (const std::string& key : keys) {
    ASSERT_TRUE(registry->write(key, "v", soon()).is_ok());
    all.emplace(key, "v");
  }
  EXPECT_TRUE(everything.wait_for_view(all));
  EXPECT_TRUE(folder.wait_for_view({{"a/", "v"}, {"a/x", "v"}}));
  EXPECT_TRUE(high.wait_for_view({{"a\xff", "v"}, {"a\xff\xff", "v"}}));
  EXPECT_EQ(this->list(*registry, "a/").size(), 2);
  EXPECT_EQ(this->list(*registry, "a\xff").size(), 2);
  EXPECT_EQ(this->list(*registry, ""), all);
  EXPECT_EQ(this->list(*registry, "c").size(), 0);
}

TYPED_TEST_P(RegistryContract, WhatIsWrittenOutlivesItsWriter) {
  const auto reader = this->make_registry();
  {
    const auto writer = this->make_registry();
    ASSERT_TRUE(writer->write("settings/a", "1", soon()).is_ok());
    ASSERT_TRUE(writer->write("settings/b", "1", soon()).is_ok());
    ASSERT_TRUE(writer->write("settings/b", "2", soon()).is_ok());
    ASSERT_TRUE(writer->write("settings/a", std::nullopt, soon()).is_ok());
  }
  EXPECT_THAT(this->list(*reader, "settings/"), testing::ElementsAre(testing::Pair("settings/b", "2")));
}

TYPED_TEST_P(RegistryContract, CarriesAnyBytes) {
  const auto one = this->make_registry();
  const auto other = this->make_registry();
  std::string every_byte;
  for (int i = 0; i < 1024; ++i) every_byte += static_cast<char>(i);
  const std::map<std::string, std::string> keys = {
      {"empty", ""}, {"every", every_byte}, {"long", std::string(256U << 10, '\xff')}, {"of \n\x01", "key"}};
  SeenChanges seen;
  const auto watch = other->watch("", seen.callback());
  const auto lease = one->lease(this->kTimeToLive);
  for (const auto& [key, value] : keys) lease->put(key, value);
  ASSERT_TRUE(lease->sync(soon()).is_ok());
  EXPECT_TRUE(seen.wait_for_view(keys));
  EXPECT_TRUE(this->list(*other, "") == keys);
}

TYPED_TEST_P(RegistryContract, OneOfManyClaimsWins) {
  const auto one = this->make_registry();
  const auto other = this->make_registry();
  std::vector<std::unique_ptr<Lease>> leases;
  for (int i = 0; i < 8; ++i) leases.push_back((i % 2 ? one : other)->lease(this->kTimeToLive));
  std::vector<Result<bool>> outcomes(leases.size());
  std::vector<std::thread> threads;
  for (size_t i = 0; i < leases.size(); ++i)
    threads.emplace_back([&, i] { outcomes[i] = leases[i]->claim("slot", std::to_string(i), soon()); });
  for (std::thread& thread : threads) thread.join();
  std::vector<size_t> winners;
  for (size_t i = 0; i < leases.size(); ++i) {
    ASSERT_TRUE(outcomes[i].is_ok()) << outcomes[i].status().to_string();
    if (*outcomes[i]) winners.push_back(i);
  }
  ASSERT_EQ(winners.size(), 1);
  EXPECT_THAT(this->list(*one, ""), testing::ElementsAre(testing::Pair("slot", std::to_string(winners.front()))));
}

TYPED_TEST_P(RegistryContract, AClaimedKeyIsAWishAndFreeAfterItsLease) {
  const auto one = this->make_registry();
  const auto other = this->make_registry();
  auto holder = one->lease(this->kTimeToLive);
  const auto next = other->lease(this->kTimeToLive);
  const auto claim = [](Lease& lease, const char* value) {
    const auto is_ours = lease.claim("slot", value, soon());
    EXPECT_TRUE(is_ours.is_ok()) << is_ours.status().to_string();
    return is_ours.is_ok() && *is_ours;
  };
  EXPECT_TRUE(claim(*holder, "first"));
  EXPECT_TRUE(claim(*holder, "again")) << "it was ours already";
  EXPECT_FALSE(claim(*next, "second"));
  EXPECT_EQ(this->list(*other, "")["slot"], "again");
  holder->put("slot", "changed");
  ASSERT_TRUE(holder->sync(soon()).is_ok());
  EXPECT_EQ(this->list(*other, "")["slot"], "changed");
  holder->remove("slot");
  ASSERT_TRUE(holder->sync(soon()).is_ok());
  EXPECT_TRUE(claim(*next, "second"));
  EXPECT_FALSE(claim(*holder, "third"));
  holder.reset();
  EXPECT_EQ(this->list(*other, "")["slot"], "second");
}

TYPED_TEST_P(RegistryContract, AnEndedLeaseTakesItsKeysAlongAndNoOthers) {
  const auto one = this->make_registry();
  const auto other = this->make_registry();
  SeenChanges seen;
  const auto watch = other->watch("", seen.callback());
  const auto heir = other->lease(this->kTimeToLive);
  auto lease = one->lease(std::chrono::hours(1));
  for (const char* key : {"mine", "given", "removed"}) lease->put(key, "1");
  ASSERT_TRUE(lease->sync(soon()).is_ok());
  heir->put("given", "2");
  heir->put("removed", "2");
  ASSERT_TRUE(heir->sync(soon()).is_ok());
  lease->remove("removed");  // somebody else's by now
  ASSERT_TRUE(lease->sync(soon()).is_ok());
  EXPECT_EQ(this->list(*one, "").size(), 3);
  lease.reset();
  const std::map<std::string, std::string> left = {{"given", "2"}, {"removed", "2"}};
  EXPECT_TRUE(seen.wait_for_view(left));
  EXPECT_EQ(this->list(*one, ""), left);
}

TYPED_TEST_P(RegistryContract, TheLastWishCounts) {
  const auto registry = this->make_registry();
  const auto lease = registry->lease(this->kTimeToLive);
  for (int round = 0; round < 200; ++round) {
    lease->put("put", std::to_string(round));
    lease->put("removed", std::to_string(round));
    lease->remove("removed");
    lease->remove("back");
    lease->put("back", std::to_string(round));
    if (round % 20 == 19) {
      ASSERT_TRUE(lease->sync(soon()).is_ok()) << round;
    }
  }
  EXPECT_THAT(this->list(*registry, ""),
              testing::ElementsAre(testing::Pair("back", "199"), testing::Pair("put", "199")));
}

TYPED_TEST_P(RegistryContract, AnEndedWatchCallsNoMore) {
  const auto registry = this->make_registry();
  const auto lease = registry->lease(this->kTimeToLive);
  SeenChanges witness;
  const auto kept = registry->watch("", witness.callback());
  for (int round = 0; round < 20; ++round) {
    auto is_alive = std::make_unique<std::atomic<bool>>(true);  // freed memory shows a late call under sanitizers
    auto watch =
        registry->watch("", [alive = is_alive.get()](std::span<const KeyChange>) { EXPECT_TRUE(alive->load()); });
    lease->put("k", std::to_string(round));
    watch.reset();
    *is_alive = false;
    is_alive.reset();
    ASSERT_TRUE(witness.wait_for_view({{"k", std::to_string(round)}}));
  }
}

TYPED_TEST_P(RegistryContract, ServesSeveralThreadsAtOnce) {
  constexpr int kThreads = 4;
  constexpr int kKeys = 25;
  const auto registry = this->make_registry();
  std::vector<std::unique_ptr<Lease>> leases(kThreads);
  std::vector<std::thread> threads;
  for (int index = 0; index < kThreads; ++index) {
    threads.emplace_back([&, index] {
      const std::string folder = std::to_string(index) + "/";
      SeenChanges seen;
      const auto watch = registry->watch(folder, seen.callback());
      leases[index] = registry->lease(this->kTimeToLive);
      std::map<std::string, std::string> wanted;
      for (int key = 0; key < kKeys; ++key) {
        const std::string name = std::to_string(key);
        leases[index]->put(folder + name, name);
        wanted.emplace(folder + name, name);
      }
      EXPECT_TRUE(leases[index]->sync(soon()).is_ok());
      EXPECT_TRUE(seen.wait_for_view(wanted));
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(this->list(*registry, "").size(), kThreads * kKeys);
}

REGISTER_TYPED_TEST_SUITE_P(RegistryContract, TheFirstCallCarriesEveryKeyEvenIfThereIsNone, TellsEveryChangeInOrder,
                            TheSameValueAgainIsNoChange, APrefixNamesExactlyTheKeysThatBeginWithIt,
                            WhatIsWrittenOutlivesItsWriter, CarriesAnyBytes, OneOfManyClaimsWins,
                            AClaimedKeyIsAWishAndFreeAfterItsLease, AnEndedLeaseTakesItsKeysAlongAndNoOthers,
                            TheLastWishCounts, AnEndedWatchCallsNoMore, ServesSeveralThreadsAtOnce);

}  // namespace dynamo::discovery
