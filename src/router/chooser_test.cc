#include "router/chooser.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "router/testing/table_of_workers.h"

namespace dynamo::router {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// A prompt of ten blocks of four tokens.
class ChooserTest : public testing::Test {
 protected:
  ChooserTest() {
    options_.mode = Mode::kKv;
    request_.id = "r1";
    request_.prompt.tokens.assign(40, 1);
    overlap_.tokens = 40;
    overlap_.blocks = 10;
    overlap_.block_tokens = 4;
  }
  Selection choose() {
    if (!chooser_)
      chooser_.emplace(&options_, make_policy(options_.mode, /*seed=*/1), make_policy(options_.mode, /*seed=*/2));
    overlap_.held.resize(table_.slots());
    overlap_.in_use.resize(table_.slots());
    const Asked asked{.request = &request_, .passed_over = passed_over_, .attempt = 2, .chain = {}};
    return chooser_->choose({asked, overlap_, table_, settings_, now_});
  }
  std::string failure() {
    const Selection made = choose();
    EXPECT_FALSE(made.decode);
    EXPECT_FALSE(made.must_wait);
    EXPECT_EQ(made.refused.reason, made.failure.text());
    EXPECT_EQ(made.refused.chosen, "");
    return made.failure.to_string();
  }
  void fill(Worker& worker) { table_.grow(table_.start(&worker, 0, {}), worker.routed.instance, 100); }

  TableOfWorkers workers_;
  WorkerTable& table_ = workers_.table;
  Time now_ = Time(std::chrono::hours(1));
  RouterOptions options_;
  RouterSettings settings_;
  GenerateRequest request_;
  PromptOverlap overlap_;
  std::vector<uint64_t> passed_over_;
  std::optional<Chooser> chooser_;
};

TEST_F(ChooserTest, TakesTheCheapestAndRecordsWhy) {
  workers_.add(1, "worker-1");
  workers_.add(2, "worker-2");
  workers_.add(3, "worker-3");
  workers_.unreachable = 3;
  overlap_.held = {2, 6, 0};
  request_.routing.overlap_weight = 3;
  const Selection made = choose();
  ASSERT_TRUE(made.decode);
  EXPECT_EQ(made.decode->worker->routed.name, "worker-2");
  EXPECT_EQ(made.decode->new_tokens, 16U);
  EXPECT_FALSE(made.prefill);
  EXPECT_THAT(made.prefill_at, IsEmpty());
  const Decision& decision = made.decode->decision;
  EXPECT_EQ(decision.request_id, "r1");
  EXPECT_EQ(decision.pool, std::nullopt);
  EXPECT_EQ(decision.mode, "kv");
  EXPECT_EQ(decision.overlap_weight, 3);
  EXPECT_EQ(decision.attempt, 2U);
  EXPECT_EQ(decision.candidates, 2U);
  EXPECT_EQ(decision.considered.at(1).worker, "worker-2");
  EXPECT_EQ(decision.left_out.at(0).text(), "worker-3: not connected");
  EXPECT_EQ(decision.chosen, "worker-2");
  EXPECT_EQ(decision.reason, "lowest_cost");
  EXPECT_EQ(decision.overlap_blocks, 6U);
  EXPECT_EQ(decision.cached_tokens, 24U);
  EXPECT_TRUE(decision.has_best_overlap);
  EXPECT_EQ(decision.prefill, "");
}

TEST_F(ChooserTest, ARequestThatNamesItsWorkerGetsThatOneOrNone) {
  Worker& worker = workers_.add(1, "worker-1");
  workers_.add(2, "worker-2");
  overlap_.held = {0, 10};
  request_.routing.instance = 1;
  EXPECT_EQ(choose().decode->worker->routed.name, "worker-1");
  settings_.busy_threshold = 0.5;
  fill(worker);
  EXPECT_EQ(failure(), "not_found: worker 0000000000000001 is not there or takes no requests");
  request_.routing.instance = 7;
  EXPECT_THAT(failure(), HasSubstr("worker 0000000000000007 is not there"));
}

TEST_F(ChooserTest, ModeDirectNeedsAName) {
  options_.mode = Mode::kDirect;
  workers_.add(1, "worker-1");
  EXPECT_THAT(failure(), HasSubstr("invalid: the router is in mode direct"));
}

TEST_F(ChooserTest, SaysWhyNobodyIsThere) {
  EXPECT_EQ(failure(), "unavailable: no worker serves this model now");
  workers_.add(1, "prefill-worker-1", Serves::kPrefill);
  EXPECT_EQ(failure(), "unavailable: only prefill workers serve this model now; a decode worker is needed");
  workers_.add(2, "worker-2");
  workers_.add(3, "worker-3");
  workers_.unreachable = 2;
  passed_over_ = {3};
  EXPECT_EQ(failure(),
            "unavailable: no worker can take the request now: worker-2: not connected, "
            "worker-3: failed this request before");
}

TEST_F(ChooserTest, ARequestWaitsWhileWorkersAreBusy) {
  settings_.busy_threshold = 0.5;
  fill(workers_.add(1, "worker-1"));
  workers_.add(2, "worker-2");
  passed_over_ = {2};
  const Selection made = choose();
  EXPECT_FALSE(made.decode);
  EXPECT_TRUE(made.must_wait);
  EXPECT_TRUE(made.failure.is_ok());
}

TEST_F(ChooserTest, WithTwoPoolsBothAreChosen) {
  workers_.add(1, "prefill-worker-1", Serves::kPrefill);
  workers_.add(2, "prefill-worker-2", Serves::kPrefill);
  workers_.add(3, "decode-worker-1", Serves::kDecode);
  overlap_.held = {0, 4, 2};
  const Selection made = choose();
  ASSERT_TRUE(made.decode && made.prefill);
  EXPECT_EQ(made.decode->worker->routed.name, "decode-worker-1");
  EXPECT_EQ(made.decode->decision.pool, Pool::kDecode);
  EXPECT_EQ(made.decode->decision.prefill, "prefill-worker-2");
  EXPECT_EQ(made.prefill->worker->routed.name, "prefill-worker-2");
  EXPECT_EQ(made.prefill->decision.pool, Pool::kPrefill);
  EXPECT_EQ(made.prefill->new_tokens, 24U);
  EXPECT_THAT(made.prefill_at, ElementsAre(PrefillPlace{2, "prefill-worker-2", "host-2"},
                                           PrefillPlace{1, "prefill-worker-1", "host-1"}));
}

TEST_F(ChooserTest, APromptThatStaysHasNoPrefillWorker) {
  workers_.add(1, "prefill-worker-1", Serves::kPrefill);
  workers_.add(2, "decode-worker-1", Serves::kDecode);
  settings_.max_local_prefill_length = 40;
  const Selection made = choose();
  EXPECT_FALSE(made.prefill);
  EXPECT_THAT(made.prefill_at, IsEmpty());
  EXPECT_THAT(made.decode->decision.prefill, HasSubstr("here: 40 tokens are not cached"));
  workers_.unreachable = 1;
  EXPECT_EQ(choose().decode->decision.prefill, "here: no prefill worker is ready");
}

TEST_F(ChooserTest, AWorkerThatFailedMayStillComputeThePrompt) {
  workers_.add(1, "prefill-worker-1", Serves::kPrefill);
  workers_.add(2, "decode-worker-1", Serves::kDecode);
  passed_over_ = {1};
  EXPECT_TRUE(choose().prefill);
}

}  // namespace
}  // namespace dynamo::router
