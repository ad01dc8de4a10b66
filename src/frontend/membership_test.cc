#include "frontend/membership.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <random>
#include <set>

#include "discovery/keys.h"
#include "frontend/testing/test_worker.h"

namespace dynamo::frontend {
namespace {

using discovery::Role;
using discovery::WorkerInstance;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using State = Member::State;

std::string key_of(const WorkerInstance& one) {
  return discovery::worker_key("ns", one);
}

class MembershipTest : public testing::Test {
 protected:
  // What is to be done, as text: "take worker-1", "leave worker-1", "refuse KEY", "key gone worker-1", "key back
  // worker-1".
  using Done = std::vector<std::string>;

  Done put(const std::string& key, const std::string& value) { return on_keys({{key, value}}); }
  Done announce(const WorkerInstance& one) { return put(key_of(one), discovery::to_json(one)); }
  Done lose(const WorkerInstance& one) { return on_keys({{key_of(one), std::nullopt}}); }
  Done leave(WorkerInstance one) {
    one.is_leaving = true;
    return announce(one);
  }
  Done on_keys(const std::vector<discovery::KeyChange>& changes) {
    return told(members_.on_keys(changes, now_, [this](uint64_t instance) { return connected_.contains(instance); }));
  }
  Done on_lost(uint64_t instance) {
    connected_.erase(instance);
    return told(members_.on_lost(instance));
  }
  State state(const WorkerInstance& one) const { return members_.members().at(key_of(one)).state; }
  std::string why(const WorkerInstance& one) const { return members_.members().at(key_of(one)).refusal; }

  // Also keeps account: nobody is taken twice, left untaken, or taken beside one that differs.
  Done told(const Membership::Steps& steps) {
    Done done;
    for (const Membership::Step& step : steps) {
      switch (step.what) {
        case Membership::What::kTake:
          EXPECT_TRUE(taken_.emplace(step.worker.instance, step.worker).second) << step.worker.name;
          done.push_back("take " + step.worker.name);
          break;
        case Membership::What::kLeave:
          EXPECT_EQ(taken_.erase(step.worker.instance), 1U) << step.worker.name;
          done.push_back("leave " + step.worker.name);
          break;
        case Membership::What::kRefuse:
          EXPECT_NE(step.why, "");
          done.push_back("refuse " + step.key);
          break;
        case Membership::What::kKeyGone:
          done.push_back("key gone " + step.worker.name);
          break;
        case Membership::What::kKeyBack:
          done.push_back("key back " + step.worker.name);
          break;
      }
      for (const auto& [instance, one] : taken_)
        for (const auto& [another, other] : taken_)
          EXPECT_TRUE(one.model != other.model ||
                      (one.model_digest == other.model_digest && one.block_tokens == other.block_tokens));
    }
    return done;
  }

  Membership members_{"ns", /*max_models=*/3};
  Time now_{};
  std::set<uint64_t> connected_;
  std::map<uint64_t, WorkerInstance> taken_;
};

TEST_F(MembershipTest, AWorkerIsTakenWhenItIsAnnouncedAndLeftWhenItSaysSo) {
  EXPECT_THAT(announce(test_worker(1)), ElementsAre("take worker-1"));
  connected_ = {1};
  EXPECT_THAT(leave(test_worker(1)), ElementsAre("leave worker-1"));
  EXPECT_THAT(lose(test_worker(1)), IsEmpty());
  EXPECT_THAT(members_.members(), IsEmpty());
}

TEST_F(MembershipTest, AnnouncedAnewWithOtherValuesItIsLeftAndTaken) {
  announce(test_worker(1));
  WorkerInstance other = test_worker(1);
  other.address = "127.0.0.1:2";
  EXPECT_THAT(announce(other), ElementsAre("leave worker-1", "take worker-1"));
  EXPECT_EQ(taken_.at(1).address, "127.0.0.1:2");
}

TEST_F(MembershipTest, OneWhoseKeyIsGoneStaysWhileItIsConnected) {
  announce(test_worker(1));
  connected_ = {1};
  EXPECT_THAT(lose(test_worker(1)), ElementsAre("key gone worker-1"));
  EXPECT_EQ(state(test_worker(1)), State::kUnlisted);
  EXPECT_THAT(announce(test_worker(1)), ElementsAre("key back worker-1"));
  EXPECT_EQ(state(test_worker(1)), State::kTaken);
  EXPECT_THAT(on_lost(1), IsEmpty()) << "it has a key, and may come back";
  connected_ = {1};
  lose(test_worker(1));
  EXPECT_THAT(on_lost(1), ElementsAre("leave worker-1"));
  EXPECT_THAT(members_.members(), IsEmpty());
}

TEST_F(MembershipTest, OneThatIsNotConnectedGoesWithItsKey) {
  announce(test_worker(1));
  EXPECT_THAT(lose(test_worker(1)), ElementsAre("leave worker-1"));
}

TEST_F(MembershipTest, OneWhoseKeyIsGoneGoesWhenItSaysThatItLeaves) {
  announce(test_worker(1));
  connected_ = {1};
  lose(test_worker(1));
  EXPECT_THAT(leave(test_worker(1)), ElementsAre("leave worker-1"));
}

TEST_F(MembershipTest, InAnotherRoleItReplacesItselfInWhicheverOrderItsKeysChange) {
  announce(test_worker(1));
  connected_ = {1};
  lose(test_worker(1));
  EXPECT_THAT(announce(test_worker(1, Role::kDecode)), ElementsAre("leave worker-1", "take worker-1"));
  EXPECT_EQ(taken_.at(1).role, Role::kDecode);
  const std::string key = key_of(test_worker(1));
  EXPECT_THAT(announce(test_worker(1)), ElementsAre("refuse " + key));
  EXPECT_THAT(lose(test_worker(1, Role::kDecode)), ElementsAre("key gone worker-1", "leave worker-1", "take worker-1"));
  EXPECT_EQ(taken_.at(1).role, Role::kAggregated);
  EXPECT_EQ(members_.members().size(), 1U);
}

TEST_F(MembershipTest, ASecondKeyOfAnInstanceWaitsUntilTheFirstHasLeft) {
  announce(test_worker(1));
  const WorkerInstance second = test_worker(1, Role::kDecode);
  EXPECT_THAT(announce(second), ElementsAre("refuse " + key_of(second)));
  EXPECT_EQ(state(second), State::kWaiting);
  EXPECT_EQ(why(second), "instance 0000000000000001 is announced already, by " + key_of(test_worker(1)) +
                             ": an instance is one worker with one key; remove this key");
  EXPECT_THAT(leave(test_worker(1)), ElementsAre("leave worker-1", "take worker-1"));
  EXPECT_EQ(state(second), State::kTaken);
}

TEST_F(MembershipTest, WorkersOfAModelAgreeInBlockSizeAndDigest) {
  announce(test_worker(1));
  WorkerInstance other = test_worker(2);
  other.block_tokens = 32;
  announce(other);
  EXPECT_THAT(why(other), HasSubstr("its block size is 32, that of the other workers of 'm' 16"));
  WorkerInstance third = test_worker(3);
  third.model_digest = std::string(32, 'a');
  announce(third);
  EXPECT_THAT(why(third), HasSubstr("under the name 'm': digest aaaaaaaaaaaaaaaa, the others' " +
                                    test_worker(1).model_digest.substr(0, 16)));
  // Of those who do not fit each other the first takes the place.
  EXPECT_THAT(leave(test_worker(1)), ElementsAre("leave worker-1", "take worker-2"));
  EXPECT_EQ(state(third), State::kWaiting);
}

TEST_F(MembershipTest, ModelsBeyondTheLimitWaitForRoom) {
  for (uint64_t i = 1; i <= 4; ++i) {
    WorkerInstance one = test_worker(i);
    one.model = fmt::format("model-{}", i);
    announce(one);
  }
  EXPECT_THAT(why(test_worker(4)), HasSubstr("3 models already"));
  EXPECT_EQ(taken_.size(), 3U);
  WorkerInstance second = test_worker(5);
  second.model = "model-2";
  EXPECT_THAT(announce(second), ElementsAre("take worker-5")) << "of a model that is there";
  WorkerInstance first = test_worker(1);
  first.model = "model-1";
  EXPECT_THAT(leave(first), ElementsAre("leave worker-1", "take worker-4"));
}

TEST_F(MembershipTest, WhatIsNoWorkerIsRefusedUntilItsKeyIsGoneOrRight) {
  const std::string key = key_of(test_worker(1));
  EXPECT_THAT(put(key, "no JSON"), ElementsAre("refuse " + key));
  EXPECT_EQ(state(test_worker(1)), State::kRefused);
  EXPECT_THAT(put(key, discovery::to_json(test_worker(2))), ElementsAre("refuse " + key));
  EXPECT_EQ(why(test_worker(1)), "the key is not that of its value");
  EXPECT_THAT(announce(test_worker(1)), ElementsAre("take worker-1"));
  EXPECT_THAT(put(key, "no JSON"), ElementsAre("leave worker-1", "refuse " + key));
  EXPECT_THAT(lose(test_worker(1)), IsEmpty());
  EXPECT_THAT(members_.members(), IsEmpty());
}

TEST_F(MembershipTest, WhatIsNotKnownIsIgnored) {
  EXPECT_THAT(lose(test_worker(1)), IsEmpty());
  EXPECT_THAT(on_lost(1), IsEmpty());
}

TEST_F(MembershipTest, TheFirstViewIsThatOfTheFirstCallEvenIfItIsEmpty) {
  EXPECT_EQ(members_.first_view(), std::nullopt);
  now_ = Time(std::chrono::seconds(7));
  on_keys({});
  EXPECT_EQ(members_.first_view(), now_);
  now_ += std::chrono::seconds(1);
  announce(test_worker(1));
  EXPECT_EQ(members_.first_view(), Time(std::chrono::seconds(7)));
}

// Any keys in any order: the account of told() holds at each step, and in the end those are taken who are right.
TEST_F(MembershipTest, WhateverKeysDoAnInstanceIsTakenOnceAndWorkersOfAModelAgree) {
  constexpr std::array kRoles = {Role::kAggregated, Role::kPrefill, Role::kDecode};
  for (uint64_t seed = 1; seed <= 300; ++seed) {
    SCOPED_TRACE(fmt::format("seed {}", seed));
    std::mt19937_64 random(seed);
    const auto chance = [&](uint64_t in) { return random() % in == 0; };
    std::set<std::string> keys;
    for (int step = 0; step < 200; ++step) {
      WorkerInstance one = test_worker(1 + random() % 3, kRoles[random() % kRoles.size()]);
      const std::string key = key_of(one);
      keys.insert(key);
      if (chance(4)) one.model = fmt::format("model-{}", random() % 5);
      if (chance(5)) one.block_tokens = 32;
      if (chance(5)) one.model_digest = "aa";
      if (chance(8)) one.is_leaving = true;
      if (chance(8)) one.instance = 1 + random() % 3;
      std::string value = discovery::to_json(one);
      if (chance(10)) value.resize(random() % value.size());
      if (chance(3)) connected_.insert(one.instance);
      if (chance(4)) {
        on_lost(one.instance);
      } else {
        on_keys({{key, chance(3) ? std::nullopt : std::optional(value)}});
      }
      size_t taken = 0;
      for (const auto& [place, member] : members_.members()) {
        if (member.is_taken()) ++taken;
        ASSERT_EQ(member.refusal.empty(), member.is_taken());
        ASSERT_TRUE(member.state != State::kUnlisted || connected_.contains(member.worker.instance)) << place;
      }
      ASSERT_EQ(taken, taken_.size());
    }
    connected_.clear();
    for (uint64_t instance = 1; instance <= 3; ++instance) on_lost(instance);
    for (const std::string& key : keys) on_keys({{key, std::nullopt}});
    ASSERT_THAT(members_.members(), IsEmpty());
    ASSERT_THAT(taken_, IsEmpty());
    ASSERT_THAT(announce(test_worker(1)), ElementsAre("take worker-1"));
    leave(test_worker(1));
  }
}

}  // namespace
}  // namespace dynamo::frontend
