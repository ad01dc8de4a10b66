#include "router/candidates.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "router/cost.h"
#include "router/testing/table_of_workers.h"
#include "wire/bus_messages.h"

namespace dynamo::router {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

class CandidatesTest : public testing::Test {
 protected:
  // A prompt of ten blocks, of four tokens each, and one token more.
  Candidates find() {
    overlap_.held.resize(table_.slots());
    overlap_.in_use.resize(table_.slots());
    weighing_.now = now_;
    return candidates_for(table_, overlap_, weighing_);
  }
  static std::vector<std::string> names(const Candidates& found) {
    std::vector<std::string> all;
    for (const Candidate& one : found.all) all.emplace_back(one.name);
    return all;
  }
  std::vector<std::string> left_out() {
    std::vector<std::string> all;
    for (const LeftOut& one : find().left_out) all.push_back(one.text());
    return all;
  }

  TableOfWorkers workers_;
  WorkerTable& table_ = workers_.table;
  Time now_ = Time(std::chrono::hours(1));
  PromptOverlap overlap_{.tokens = 41, .blocks = 10, .block_tokens = 4, .held = {}, .in_use = {}};
  Weighing weighing_;
};

TEST_F(CandidatesTest, EachPoolHasItsWorkersByName) {
  workers_.add(1, "decode-worker-10", Serves::kDecode);
  workers_.add(2, "decode-worker-2", Serves::kDecode);
  workers_.add(3, "worker-3");
  workers_.add(4, "prefill-worker-1", Serves::kPrefill);
  EXPECT_THAT(names(find()), ElementsAre("worker-3", "decode-worker-2", "decode-worker-10"));
  weighing_.pool = Pool::kPrefill;
  EXPECT_THAT(names(find()), ElementsAre("prefill-worker-1"));
}

TEST_F(CandidatesTest, WhoIsNotConnectedIsLeftOut) {
  workers_.add(1, "worker-1");
  workers_.unreachable = 1;
  EXPECT_THAT(left_out(), ElementsAre("worker-1: not connected"));
  EXPECT_THAT(find().all, IsEmpty());
  EXPECT_FALSE(find().is_any_busy());
}

TEST_F(CandidatesTest, WhoseBlocksAreNotKnownIsLeftOut) {
  Worker& worker = workers_.add_unknown(1, "worker-1");
  EXPECT_THAT(left_out(), ElementsAre("worker-1: its blocks are not known yet"));
  worker.feed->on_snapshot(1, {});
  EXPECT_THAT(left_out(), IsEmpty());
}

TEST_F(CandidatesTest, WhoFailedTheRequestBeforeIsLeftOutAndIsNotBusyThen) {
  Worker& worker = workers_.add(1, "worker-1");
  workers_.add(2, "worker-2");
  table_.grow(table_.start(&worker, 0, {}), 1, 100);
  weighing_.busy_threshold = 0.5;
  const std::vector<uint64_t> passed_over = {1};
  weighing_.passed_over = passed_over;
  EXPECT_THAT(left_out(), ElementsAre("worker-1: failed this request before"));
  EXPECT_FALSE(find().is_any_busy()) << "it is not worth waiting for";
  EXPECT_THAT(names(find()), ElementsAre("worker-2"));
}

TEST_F(CandidatesTest, WhoIsBusyIsLeftOutAndWorthWaitingFor) {
  Worker& worker = workers_.add(1, "worker-1");
  table_.grow(table_.start(&worker, 0, {}), 1, 51);
  EXPECT_THAT(left_out(), IsEmpty()) << "there is no threshold";
  weighing_.busy_threshold = 0.5;
  EXPECT_THAT(left_out(), ElementsAre("worker-1: busy"));
  EXPECT_TRUE(find().is_any_busy());
}

TEST_F(CandidatesTest, ACandidatesTermsAreThoseOfItsCost) {
  Worker& worker = workers_.add(1, "worker-1", Serves::kBoth, /*max_sequences=*/4);
  table_.grow(table_.start(&worker, /*prefill_tokens=*/8, {}), 1, 7);
  wire::Heartbeat heartbeat;
  heartbeat.running = 5;
  heartbeat.queued_tokens = 20;
  worker.report.on_heartbeat(heartbeat, table_.load_of(worker), now_);
  overlap_.held = {3};
  overlap_.in_use = {6};
  weighing_.overlap_weight = 2;
  const Candidate one = find().all.at(0);
  EXPECT_EQ(one.instance, 1U);
  EXPECT_EQ(one.active_requests, 1U);
  EXPECT_EQ(one.overlap_blocks(), 3U);
  EXPECT_EQ(one.prefill_blocks, (20 + 17) / 4.0) << "8 tokens of ours and 12 of others wait; 6 blocks will be there";
  EXPECT_EQ(one.decode_blocks, 7 + 10 - 6);
  EXPECT_EQ(one.sequences, 5U);
  EXPECT_EQ(one.rounds, 0.5);
  EXPECT_EQ(one.cost, 2 * 9.25 + 11 + kSequenceBlocks * 5 + kRoundBlocks * 0.5);
}

TEST_F(CandidatesTest, BlocksOfLowerTiersAreCachedInPart) {
  workers_.add(1, "worker-1");
  workers_.add(2, "worker-2");
  overlap_.held = {2, 2};
  overlap_.in_use = {3, 0};
  overlap_.lower = {{{0, 4, 0}}, {{0, 4, 4}}};
  const Candidates found = find();
  EXPECT_EQ(found.all.at(0).overlap, (kv::PerTier<uint32_t>{{2, 4, 0}}));
  EXPECT_EQ(found.all.at(1).overlap, (kv::PerTier<uint32_t>{{2, 4, 4}}));
  EXPECT_EQ(found.all.at(0).prefill_blocks, (41 - 4 * (2 + 4 * 0.75)) / 4) << "more than what is in use there";
  EXPECT_EQ(found.all.at(1).prefill_blocks, (41 - 4 * (2 + 4 * 0.75 + 4 * 0.25)) / 4);
  EXPECT_EQ(found.all.at(0).overlap_blocks(), 2U);
}

TEST_F(CandidatesTest, AMovedBlockCostsAQuarterPlusThePrefillWorkersQueue) {
  workers_.add(1, "worker-1");
  workers_.add(2, "decode-worker-1", Serves::kDecode);
  weighing_.prefill_tokens = 100;
  const Candidates found = find();
  EXPECT_EQ(found.all.at(0).prefill_blocks, 41 / 4.0);
  EXPECT_EQ(found.all.at(1).prefill_blocks, (100 + 41 * 0.25) / 4);
}

TEST_F(CandidatesTest, PrefillWorkersHaveNoRounds) {
  Worker& worker = workers_.add(1, "prefill-worker-1", Serves::kPrefill, /*max_sequences=*/1);
  table_.start(&worker, 0, {});
  weighing_.pool = Pool::kPrefill;
  EXPECT_EQ(find().all.at(0).rounds, 0);
}

TEST_F(CandidatesTest, TheNextBestIsTheCheapestOfTheOthers) {
  for (uint64_t instance : {1, 2, 3}) workers_.add(instance, "worker-" + std::to_string(instance));
  overlap_.held = {2, 9, 5};
  const Candidates found = find();
  EXPECT_EQ(found.next_best(found.all[1])->name, "worker-3");
  EXPECT_EQ(found.next_best(found.all[2])->name, "worker-2");
  EXPECT_TRUE(found.has_best_overlap(found.all[1]));
  EXPECT_FALSE(found.has_best_overlap(found.all[2]));
  const Candidates alone{.all = {found.all[0]}, .left_out = {}};
  EXPECT_EQ(alone.next_best(alone.all[0]), nullptr);
}

}  // namespace
}  // namespace dynamo::router
