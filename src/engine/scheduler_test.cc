// Steps that overlap: what is issued before the step before is completed, and when what a step touches comes free.
#include "engine/scheduler.h"

#include <gtest/gtest.h>

namespace dynamo::engine {
namespace {

class SchedulerTest : public testing::Test {
 protected:
  void make(uint32_t blocks, uint32_t max_sequences = 8) {
    pool_ = std::make_unique<BlockPool>(blocks, /*block_tokens=*/4, nullptr);
    scheduler_ = std::make_unique<Scheduler>(
        SchedulerOptions{.block_tokens = 4, .max_batch_tokens = 64, .max_sequences = max_sequences}, pool_.get());
  }
  Sequence* add(uint64_t id, std::vector<TokenId> prompt, uint32_t answer) {
    auto sequence = std::make_unique<Sequence>();
    sequence->id = SequenceId{id};
    sequence->request.prompt.tokens = prompt;
    sequence->tokens = std::move(prompt);
    sequence->limit = sequence->size() + answer;
    Sequence* added = sequence.get();
    scheduler_->add(std::move(sequence));
    return added;
  }
  // Completes the oldest step; each draw of it is `token`.
  void complete(TokenId token) {
    for (const Turn& turn : scheduler_->complete(/*is_computed=*/true))
      if (turn.draws && turn.sequence != nullptr) scheduler_->append(turn.sequence, token);
    pool_->check_invariants();
  }

  std::unique_ptr<BlockPool> pool_;
  std::unique_ptr<Scheduler> scheduler_;
};

TEST_F(SchedulerTest, ASequenceDecodesOnBeforeItsTokenIsKnownAndNotBeyondItsLimit) {
  make(/*blocks=*/10);
  const Sequence* sequence = add(1, {1, 2, 3, 4, 5}, /*answer=*/3);
  const auto expect_turn = [&](uint32_t first, uint32_t rows) {
    const auto step = scheduler_->schedule();
    ASSERT_EQ(step.size(), 1U);
    EXPECT_EQ(step[0].sequence, sequence);
    EXPECT_EQ(step[0].first, first);
    EXPECT_EQ(step[0].rows, rows);
    EXPECT_TRUE(step[0].draws);
  };
  expect_turn(0, 5);
  expect_turn(5, 1);
  expect_turn(6, 1);
  EXPECT_TRUE(scheduler_->schedule().empty()) << "the third token is its last";
  EXPECT_EQ(scheduler_->under_way(), 3U);
  EXPECT_EQ(sequence->drawing, 3U);
  EXPECT_EQ(sequence->computed, 0U);
  complete(9);
  EXPECT_EQ(sequence->computed, 5U);
  EXPECT_EQ(sequence->drawing, 2U);
  EXPECT_EQ(pool_->cached() + pool_->held(), 2U);
  complete(9);
  complete(9);
  EXPECT_EQ(sequence->size(), 8U);
  EXPECT_EQ(sequence->computed, 7U);
}

TEST_F(SchedulerTest, WhoNeedsTheTokenOnTheHostTakesEveryOtherStepAndTheRestGoOn) {
  make(/*blocks=*/10);
  Sequence* grammar = add(1, {1, 2}, 10);
  grammar->needs_token = true;
  const Sequence* plain = add(2, {3, 4}, 10);
  ASSERT_EQ(scheduler_->schedule().size(), 2U);
  for (int round = 0; round < 3; ++round) {
    const auto second = scheduler_->schedule();
    ASSERT_EQ(second.size(), 1U);
    EXPECT_EQ(second[0].sequence, plain);
    complete(9);
    complete(9);
    ASSERT_EQ(scheduler_->schedule().size(), 2U);
    EXPECT_EQ(grammar->drawing, 1U);
  }
}

TEST_F(SchedulerTest, BlocksAndSeatOfARemovedSequenceComeFreeWithTheLastStepIssued) {
  make(/*blocks=*/10, /*max_sequences=*/2);
  const uint32_t seat = *[&] {
    add(1, {1, 2, 3, 4, 5}, 10);
    scheduler_->schedule();
    return scheduler_->find(SequenceId{1})->seat;
  }();
  add(2, {7}, 10);
  scheduler_->schedule();
  ASSERT_TRUE(scheduler_->remove(SequenceId{1}));
  EXPECT_EQ(pool_->held(), 3U);
  const Sequence* next = add(3, {8}, 10);
  const auto step = scheduler_->schedule();
  ASSERT_EQ(step.size(), 1U) << "there is no seat for the third";
  EXPECT_EQ(next->seat, std::nullopt);
  const auto first = scheduler_->complete(true);
  ASSERT_EQ(first.size(), 1U);
  EXPECT_EQ(first[0].sequence, nullptr);
  EXPECT_EQ(pool_->held(), 3U) << "the second step has it too";
  complete(9);
  EXPECT_EQ(pool_->held(), 1U);
  EXPECT_EQ(pool_->cached(), 0U) << "what was computed for it is thrown away";
  scheduler_->schedule();
  EXPECT_EQ(next->seat, seat);
}

TEST_F(SchedulerTest, ABlockThatAnotherTookThePlaceOfStaysUntilNoStepReadsIt) {
  make(/*blocks=*/10);
  const Sequence* one = add(1, {1, 2, 3}, 10);
  const Sequence* other = add(2, {1, 2, 3}, 10);
  scheduler_->schedule();
  scheduler_->schedule();  // the fourth token of both, which fills a block
  const BlockId own = other->blocks[0];
  complete(9);
  scheduler_->schedule();  // reads it
  complete(9);
  EXPECT_EQ(other->blocks[0], one->blocks[0]);
  EXPECT_NE(other->blocks[0], own);
  EXPECT_EQ(pool_->held(), 4U);  // one kept, one of each for the fifth token, and that one
  complete(9);
  EXPECT_EQ(pool_->held(), 3U);
}

TEST_F(SchedulerTest, NobodyIsPreemptedWhileAStepIsUnderWay) {
  make(/*blocks=*/4);
  const Sequence* first = add(1, {1, 2, 3, 4, 5, 6, 7}, 9);
  const Sequence* second = add(2, {8, 2, 3, 4, 5, 6, 7}, 9);
  ASSERT_EQ(scheduler_->schedule().size(), 2U);
  ASSERT_EQ(scheduler_->schedule().size(), 2U);  // the eighth token of both
  EXPECT_TRUE(scheduler_->schedule().empty()) << "the ninth has no block";
  complete(9);
  EXPECT_TRUE(scheduler_->schedule().empty()) << "one step is under way yet";
  EXPECT_EQ(scheduler_->preemptions(), 0U);
  complete(9);
  const auto step = scheduler_->schedule();
  ASSERT_EQ(step.size(), 1U);
  EXPECT_EQ(step[0].sequence, first);
  EXPECT_EQ(scheduler_->preemptions(), 1U);
  EXPECT_TRUE(second->blocks.empty());
  EXPECT_EQ(second->size(), 9U) << "what was drawn stands";
}

TEST_F(SchedulerTest, OfAStepThatFailedNothingBecomesKnown) {
  make(/*blocks=*/10);
  add(1, {1, 2, 3, 4, 5}, 10);
  scheduler_->schedule();
  for (const Turn& turn : scheduler_->complete(/*is_computed=*/false)) scheduler_->remove(turn.sequence->id);
  EXPECT_EQ(pool_->held() + pool_->cached(), 0U);
  add(2, {1, 2, 3, 4, 5}, 10);
  scheduler_->schedule();
  for (const Turn& turn : scheduler_->withdraw()) scheduler_->remove(turn.sequence->id);
  EXPECT_EQ(pool_->held() + pool_->cached(), 0U);
  EXPECT_EQ(scheduler_->under_way(), 0U);
}

}  // namespace
}  // namespace dynamo::engine
