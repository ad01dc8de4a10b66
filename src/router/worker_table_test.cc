#include "router/worker_table.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "router/testing/table_of_workers.h"
#include "wire/bus_messages.h"

namespace dynamo::router {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class WorkerTableTest : public testing::Test {
 protected:
  std::vector<std::string> names() const {
    std::vector<std::string> all;
    for (const auto& worker : workers_.table.by_name()) all.push_back(worker->routed.name);
    return all;
  }
  WorkerState state(const Worker& worker) const {
    return workers_.table.state_of(worker, /*busy_threshold=*/0.5, now_);
  }

  TableOfWorkers workers_;
  WorkerTable& table_ = workers_.table;
  Time now_ = Time(std::chrono::hours(1));
};

TEST_F(WorkerTableTest, ListsWorkersByTheNumbersInTheirNames) {
  workers_.add(1, "worker-10");
  workers_.add(2, "worker-2");
  workers_.add(3, "worker-1");
  EXPECT_THAT(names(), ElementsAre("worker-1", "worker-2", "worker-10"));
  EXPECT_EQ(table_.remove(2)->routed.name, "worker-2");
  EXPECT_EQ(table_.remove(2), nullptr);
  EXPECT_THAT(names(), ElementsAre("worker-1", "worker-10"));
  EXPECT_EQ(table_.find(2), nullptr);
  EXPECT_EQ(table_.find(3)->routed.name, "worker-1");
}

TEST_F(WorkerTableTest, CountsThoseThatAnswerApartFromPrefillWorkers) {
  workers_.add(1, "prefill-worker-1", Serves::kPrefill);
  workers_.add(2, "decode-worker-1", Serves::kDecode);
  workers_.add(3, "worker-1");
  EXPECT_EQ(table_.size(), 3U);
  EXPECT_EQ(table_.prefill_workers(), 1U);
  EXPECT_EQ(table_.answering(), 2U);
  table_.remove(1);
  EXPECT_EQ(table_.prefill_workers(), 0U);
  EXPECT_EQ(table_.answering(), 2U);
}

TEST_F(WorkerTableTest, AnInstanceThatIsThereIsRefusedByName) {
  Worker& there = workers_.add(1, "worker-1");
  RoutedWorker same;
  same.instance = 1;
  same.name = "other";
  const auto again = std::make_shared<Worker>(std::move(same), WorkerSlot{1}, &workers_.metrics, "m");
  EXPECT_EQ(table_.add(again).code(), Code::kInvalid);
  EXPECT_THAT(table_.may_add(1).text(), HasSubstr("worker 0000000000000001 is there already, as worker-1"));
  EXPECT_TRUE(table_.may_add(2).is_ok());
  EXPECT_EQ(table_.find(1).get(), &there);
  EXPECT_EQ(table_.size(), 1U);
}

TEST_F(WorkerTableTest, AWorkerIsInOneStateAfterTheOther) {
  Worker& worker = workers_.add_unknown(1, "worker-1");
  workers_.unreachable = 1;
  EXPECT_EQ(state(worker), WorkerState::kConnecting);
  workers_.unreachable = 0;
  EXPECT_EQ(state(worker), WorkerState::kLoadingIndex);
  worker.feed->on_snapshot(1, {});
  EXPECT_EQ(state(worker), WorkerState::kReady);
  const auto id = table_.start(&worker, 0, {});
  table_.grow(id, 1, 50);
  EXPECT_EQ(state(worker), WorkerState::kReady);
  table_.grow(id, 1, 1);
  EXPECT_EQ(state(worker), WorkerState::kBusy);
  EXPECT_EQ(table_.state_of(worker, std::nullopt, now_), WorkerState::kReady);
  table_.end(id, 1);
  wire::Heartbeat heartbeat;
  heartbeat.used_blocks = 51;
  worker.report.on_heartbeat(heartbeat, table_.load_of(worker), now_);
  EXPECT_EQ(state(worker), WorkerState::kBusy);
  now_ += std::chrono::seconds(5);
  EXPECT_EQ(state(worker), WorkerState::kReady) << "the heartbeat says nothing of now";
}

TEST_F(WorkerTableTest, StatesHaveNames) {
  EXPECT_EQ(state_name(WorkerState::kReady), "ready");
  EXPECT_EQ(state_name(WorkerState::kConnecting), "connecting");
  EXPECT_EQ(state_name(WorkerState::kLoadingIndex), "loading index");
  EXPECT_EQ(state_name(WorkerState::kBusy), "busy");
  EXPECT_EQ(index_name(std::nullopt), "guessed");
  EXPECT_EQ(index_name(KvFeed::State::kUnknown), "unknown");
  EXPECT_EQ(index_name(KvFeed::State::kCatchingUp), "catching up");
  EXPECT_EQ(index_name(KvFeed::State::kProven), "proven");
  EXPECT_EQ(index_name(KvFeed::State::kPartial), "partial");
}

TEST_F(WorkerTableTest, WhatIsInFlightIsShownUntilItEndsOrItsWorkerLeaves) {
  Worker& worker = workers_.add(1, "worker-1");
  const std::vector<kv::BlockHash> chain = {{1}, {2}, {3}};
  const auto first = table_.start(&worker, 12, chain);
  const auto second = table_.start(&worker, 5, std::span(chain).first(2));
  table_.end_prefill(first, 1);
  table_.grow(second, 1, 4);
  const WorkerView view = table_.view(worker, std::nullopt, now_);
  EXPECT_EQ(view.active_requests, 2U);
  EXPECT_EQ(view.queued_tokens, 5U);
  EXPECT_EQ(view.active_blocks, 7U);
  EXPECT_EQ(view.index_state, std::nullopt);
  EXPECT_EQ(worker.metrics.active_requests->Value(), 2);
  EXPECT_EQ(worker.metrics.pending_tokens->Value(), 5);
  EXPECT_EQ(worker.metrics.active_blocks->Value(), 7);
  table_.end(first, 1);
  EXPECT_EQ(table_.in_flight(), 1U);
  const auto kept = table_.remove(1);
  EXPECT_EQ(table_.in_flight(), 0U);
  EXPECT_EQ(kept->metrics.active_requests->Value(), 0);
  table_.end(second, 1);
  EXPECT_EQ(table_.in_flight(), 0U);
}

}  // namespace
}  // namespace dynamo::router
