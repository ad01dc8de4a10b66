#include "router/worker_report.h"

#include <gtest/gtest.h>

#include <cmath>

#include "wire/bus_messages.h"

namespace dynamo::router {
namespace {

class WorkerReportTest : public testing::Test {
 protected:
  void beat(const WorkerLoad& load) { report_.on_heartbeat(heartbeat_, load, now_); }

  WorkerReport report_;
  wire::Heartbeat heartbeat_;
  Time now_ = Time(std::chrono::hours(1));
};

TEST_F(WorkerReportTest, CountsWhatOthersSentBesideWhatThisRouterDid) {
  heartbeat_.queued_tokens = 100;
  heartbeat_.running = 3;
  heartbeat_.waiting = 4;
  const WorkerLoad ours{.requests = 2, .prefill_tokens = 30};
  report_.on_load(ours);
  beat(ours);
  EXPECT_EQ(report_.waiting_tokens(ours, now_), 100U);
  EXPECT_EQ(report_.sequences(ours, now_), 7U);
  EXPECT_EQ(report_.waiting_tokens({}, now_), 70U) << "ours have ended";
}

TEST_F(WorkerReportTest, WhatEndedHereWhileTheHeartbeatWasOnItsWayIsNotAnothers) {
  heartbeat_.running = 2;
  heartbeat_.queued_tokens = 30;
  report_.on_load({.requests = 2, .prefill_tokens = 30});
  report_.on_load({.requests = 1, .prefill_tokens = 0});
  beat({});
  EXPECT_EQ(report_.sequences({}, now_), 0U);
  EXPECT_EQ(report_.waiting_tokens({}, now_), 0U);
  beat({});
  EXPECT_EQ(report_.sequences({}, now_), 2U) << "they are there still, and none of ours";
}

TEST_F(WorkerReportTest, AnOldHeartbeatSaysNothingOfNowButRatesLast) {
  heartbeat_.queued_tokens = 100;
  heartbeat_.running = 3;
  heartbeat_.is_full = true;
  heartbeat_.used_blocks = 9;
  heartbeat_.prefill_tokens_per_second = 500;
  heartbeat_.transfer_tokens_per_second = 600;
  beat({});
  EXPECT_EQ(report_.used_blocks({.blocks = 7}, now_), 9U);
  now_ += std::chrono::seconds(5);
  EXPECT_EQ(report_.waiting_tokens({}, now_), 0U);
  EXPECT_EQ(report_.sequences({}, now_), 0U);
  EXPECT_EQ(report_.places(8, now_), 8U);
  EXPECT_EQ(report_.used_blocks({.blocks = 7}, now_), 7U);
  EXPECT_EQ(report_.prefill_rate(), 500);
  EXPECT_EQ(report_.transfer_rate(), 600);
}

TEST_F(WorkerReportTest, PlacesAreThoseThatRunWhereNoMoreCan) {
  heartbeat_.running = 3;
  beat({});
  EXPECT_EQ(report_.places(0, now_), 0U);
  EXPECT_EQ(report_.places(8, now_), 8U);
  heartbeat_.is_full = true;
  beat({});
  EXPECT_EQ(report_.places(0, now_), 3U);
  EXPECT_EQ(report_.places(8, now_), 3U);
  EXPECT_EQ(report_.places(2, now_), 2U);
}

TEST_F(WorkerReportTest, RatesThatCannotBeAreNotKnown) {
  for (const double rate : {std::nan(""), HUGE_VAL, -HUGE_VAL, -5.0, 0.0}) {
    heartbeat_.prefill_tokens_per_second = rate;
    heartbeat_.transfer_tokens_per_second = rate;
    beat({});
    EXPECT_EQ(report_.prefill_rate(), 0);
    EXPECT_EQ(report_.transfer_rate(), 0);
  }
}

}  // namespace
}  // namespace dynamo::router
