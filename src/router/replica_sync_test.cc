#include "router/replica_sync.h"

#include <gtest/gtest.h>

#include "router/testing/table_of_workers.h"

namespace dynamo::router {
namespace {

// A router that tells and one that hears it; both have worker 1 and prefill worker 2.
class ReplicaSyncTest : public testing::Test {
 protected:
  ReplicaSyncTest() {
    workers_.add(1, "decode-worker-1", Serves::kDecode);
    workers_.add(2, "prefill-worker-1", Serves::kPrefill);
  }
  WorkerLoad load(uint64_t instance) const { return workers_.table.load_of(*workers_.table.find(instance)); }

  TableOfWorkers workers_;
  Time now_ = Time(std::chrono::hours(1));
  ReplicaSync hearing_{/*id=*/2, nullptr};
  ReplicaSync telling_{/*id=*/1, [this](const std::string& message) {
                         const auto notice = wire::router_notice_from_bytes(message);
                         ASSERT_TRUE(notice.is_ok());
                         hearing_.on_notice(*notice, &workers_.table, now_);
                       }};
};

TEST_F(ReplicaSyncTest, AnothersRequestCountsFromItsStartToItsEnd) {
  const FlightKey key{"r1", Pool::kDecode};
  telling_.tell_started(key, 1, /*prefill_tokens=*/40, /*blocks=*/10);
  EXPECT_EQ(load(1).requests, 1U);
  EXPECT_EQ(load(1).prefill_tokens, 40U);
  EXPECT_EQ(load(1).blocks, 10U);
  telling_.tell_prefill_done(key, 1);
  EXPECT_EQ(load(1).prefill_tokens, 0U);
  telling_.tell_ended(key, 1);
  EXPECT_EQ(workers_.table.in_flight(), 0U);
  telling_.tell_ended(key, 1);
  EXPECT_EQ(workers_.table.in_flight(), 0U);
}

TEST_F(ReplicaSyncTest, APromptAndItsAnswerCountApartWhateverRequestsAreCalled) {
  telling_.tell_started({"r1", Pool::kPrefill}, 2, 40, 10);
  telling_.tell_started({"r1", Pool::kDecode}, 1, 0, 10);
  telling_.tell_started({"r1#prefill", Pool::kDecode}, 1, 0, 7);
  EXPECT_EQ(load(2).prefill_tokens, 40U);
  EXPECT_EQ(load(1).blocks, 17U);
  telling_.tell_ended({"r1", Pool::kPrefill}, 2);
  EXPECT_EQ(load(2).requests, 0U);
  EXPECT_EQ(load(1).requests, 2U);
}

TEST_F(ReplicaSyncTest, ARequestToldAgainCountsOnce) {
  telling_.tell_started({"r1", Pool::kDecode}, 1, 40, 10);
  telling_.tell_started({"r1", Pool::kDecode}, 1, 30, 5);
  EXPECT_EQ(load(1).requests, 1U);
  EXPECT_EQ(load(1).blocks, 5U);
}

TEST_F(ReplicaSyncTest, WhatNeverEndsIsForgottenAfterTenMinutes) {
  telling_.tell_started({"r1", Pool::kDecode}, 1, 40, 10);
  now_ += std::chrono::minutes(10);
  telling_.tell_started({"r2", Pool::kDecode}, 1, 1, 1);
  EXPECT_EQ(load(1).requests, 1U);
  EXPECT_EQ(load(1).blocks, 1U);
}

TEST_F(ReplicaSyncTest, ItsOwnWordsAndWorkersOfOtherModelsCountNothing) {
  const ReplicaSync self(/*id=*/2, [this](const std::string& message) {
    hearing_.on_notice(*wire::router_notice_from_bytes(message), &workers_.table, now_);
  });
  self.tell_started({"r1", Pool::kDecode}, 1, 40, 10);
  telling_.tell_started({"r1", Pool::kDecode}, 99, 40, 10);
  EXPECT_EQ(workers_.table.in_flight(), 0U);
}

}  // namespace
}  // namespace dynamo::router
