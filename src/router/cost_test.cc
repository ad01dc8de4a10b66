#include "router/cost.h"

#include <gtest/gtest.h>

namespace dynamo::router {
namespace {

constexpr double kBlock = 16;

double cost(const Standing& standing, double overlap_weight = 4) {
  return cost_of(standing, kBlock, overlap_weight).total;
}

TEST(Cost, IsTheSumOfItsTerms) {
  const Cost cost = cost_of({.queued_tokens = 160, .new_tokens = 32, .blocks = 70, .sequences = 9, .places = 8}, kBlock,
                            /*overlap_weight=*/2);
  EXPECT_EQ(cost.prefill_blocks, 12);
  EXPECT_EQ(cost.decode_blocks, 70);
  EXPECT_EQ(cost.sequences, 9U);
  EXPECT_EQ(cost.rounds, 2.0 / 8);
  EXPECT_EQ(cost.total, 2 * 12 + 70 + kSequenceBlocks * 9 + kRoundBlocks * 2 / 8);
}

TEST(Cost, OfAWorkerWithAFreePlaceHasNoWait) {
  EXPECT_EQ(cost_of({.sequences = 7, .places = 8}, kBlock, 4).rounds, 0);
  EXPECT_EQ(cost_of({.sequences = 8, .places = 8}, kBlock, 4).rounds, 1.0 / 8);
  EXPECT_EQ(cost_of({.sequences = 15, .places = 8}, kBlock, 4).rounds, 1);
  EXPECT_EQ(cost_of({.sequences = 1000, .places = 0}, kBlock, 4).rounds, 0);  // nobody has said how many
}

TEST(Cost, OfAPrefillWorkerCountsThePromptsAheadAndNoAnswers) {
  const Standing standing{.queued_tokens = 1600, .sequences = 100, .places = 8, .answers = false};
  EXPECT_EQ(cost_of(standing, kBlock, 4).rounds, 0);
  EXPECT_EQ(cost(standing), 4 * 100 + kSequenceBlocks * 100);
}

TEST(Cost, AWarmWorkerThatIsFullLosesToAnIdleOne) {
  // A prefix of 1,600 tokens; the warm worker has all of it and no place.
  const Standing warm{.new_tokens = 16, .blocks = 109, .sequences = 8, .places = 8};
  const Standing idle{.new_tokens = 1616, .blocks = 101, .sequences = 0, .places = 8};
  for (const double weight : {1.0, 4.0}) EXPECT_GT(cost(warm, weight), cost(idle, weight)) << weight;
}

TEST(Cost, ASequenceMoreWeighsAsMuchAsTwelveBlocksToCompute) {
  const Standing own{.new_tokens = 256, .blocks = 300, .sequences = 3, .places = 64};
  const auto other = [](double more_tokens) {
    return Standing{.new_tokens = 256 + more_tokens, .blocks = 300, .sequences = 2, .places = 64};
  };
  EXPECT_EQ(cost(own), cost(other(12 * kBlock)));
  EXPECT_LT(cost(own), cost(other(20 * kBlock)));  // a turn of a conversation stays where those before are
}

}  // namespace
}  // namespace dynamo::router
