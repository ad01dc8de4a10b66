#include "router/prefill_placement.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace dynamo::router {
namespace {

using ::testing::HasSubstr;
using Why = PrefillPlacement::Why;

// Two workers of one speed, each given a prompt just now; the prompt has 100 tokens, of which neither has any.
class PrefillPlacementTest : public testing::Test {
 protected:
  PrefillPlacement place() const {
    return place_prefill(is_aggregated_, decode_, has_prefill_ ? &prefill_ : nullptr, max_local_length_, now_);
  }
  Why why() const { return place().why; }

  const Time now_ = Time(std::chrono::hours(1));
  bool is_aggregated_ = false;
  bool has_prefill_ = true;
  std::optional<uint32_t> max_local_length_;  // auto
  PromptSite decode_{.worker = "decode-worker-1", .uncached_tokens = 100, .prefill_rate = 1000, .prompt_at = now_};
  PromptSite prefill_{.worker = "prefill-worker-1", .uncached_tokens = 100, .prefill_rate = 1000, .prompt_at = now_};
};

TEST_F(PrefillPlacementTest, AnAggregatedWorkerComputesItsPrompts) {
  is_aggregated_ = true;
  EXPECT_EQ(why(), Why::kAggregated);
  EXPECT_EQ(place().text, "here: an aggregated worker");
  EXPECT_TRUE(place().is_here());
}

TEST_F(PrefillPlacementTest, WithoutAPrefillWorkerItIsComputedHere) {
  has_prefill_ = false;
  EXPECT_EQ(why(), Why::kNoPrefillWorker);
  EXPECT_EQ(place().text, "here: no prefill worker is ready");
  EXPECT_TRUE(place().is_here());
}

TEST_F(PrefillPlacementTest, AGivenLengthDecidesAlone) {
  max_local_length_ = 100;
  EXPECT_EQ(why(), Why::kShort);
  EXPECT_EQ(place().text, "here: 100 tokens are not cached, at most 100 are computed locally");
  EXPECT_TRUE(place().is_here());
  max_local_length_ = 99;
  EXPECT_EQ(why(), Why::kLong);
  EXPECT_EQ(place().text, "prefill-worker-1");
  EXPECT_FALSE(place().is_here());
}

TEST_F(PrefillPlacementTest, AmongEqualsAPromptMovesUnlessTheQueueThereIsLongerThanIt) {
  prefill_.waiting_tokens = 100;
  EXPECT_EQ(why(), Why::kSoonerThere);
  EXPECT_EQ(place().text, "prefill-worker-1");
  prefill_.waiting_tokens = 101;
  EXPECT_EQ(why(), Why::kSoonerHere);
  EXPECT_EQ(place().text, "here: expected to take 0.498 of the time that prefill-worker-1 needs");
  decode_.waiting_tokens = 1;
  EXPECT_EQ(why(), Why::kSoonerThere);
}

TEST_F(PrefillPlacementTest, TheTransferCountsWhereItsRateIsKnown) {
  prefill_.transfer_rate = 1000;
  EXPECT_EQ(why(), Why::kSoonerThere);
  prefill_.transfer_rate = 999;
  EXPECT_EQ(why(), Why::kSoonerHere);
  decode_.prefill_rate = 0;
  decode_.uncached_tokens = prefill_.uncached_tokens = 63;
  EXPECT_EQ(why(), Why::kSoonerThere) << "without both rates they are equal and the transfer is nothing";
}

TEST_F(PrefillPlacementTest, AWorkerOfUnknownRateIsMeasuredByOneLongPromptAMinute) {
  decode_.prefill_rate = 0;
  EXPECT_EQ(why(), Why::kSoonerThere) << "it was given one just now";
  decode_.prompt_at = now_ - std::chrono::minutes(1);
  EXPECT_EQ(why(), Why::kToMeasureHere);
  EXPECT_EQ(place().text, "here: to measure how fast it computes prompts");
  EXPECT_TRUE(place().is_here());
  decode_.prompt_at.reset();
  EXPECT_EQ(why(), Why::kToMeasureHere);
  decode_.waiting_tokens = 1;
  EXPECT_EQ(why(), Why::kSoonerThere) << "it is busy with others' prompts";
  decode_.waiting_tokens = 0;
  decode_.uncached_tokens = 63;
  EXPECT_EQ(why(), Why::kSoonerThere) << "too short to tell";
  decode_.uncached_tokens = 64;
  prefill_.prefill_rate = 0;
  EXPECT_EQ(why(), Why::kSoonerThere) << "there is nothing to compare with";
}

TEST_F(PrefillPlacementTest, AWorkerThatWasSlowIsTriedAgainAfterAMinuteWithoutPrompts) {
  prefill_.prefill_rate = 10;
  EXPECT_EQ(why(), Why::kSoonerHere);
  prefill_.prompt_at = now_ - std::chrono::minutes(1);
  EXPECT_EQ(why(), Why::kToMeasureThere);
  EXPECT_EQ(place().text, "prefill-worker-1");
  EXPECT_FALSE(place().is_here());
  prefill_.waiting_tokens = 1;
  EXPECT_EQ(why(), Why::kSoonerHere) << "others keep it busy";
}

}  // namespace
}  // namespace dynamo::router
