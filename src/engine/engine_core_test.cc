#include "engine/engine_core.h"

#include <gtest/gtest.h>

#include <limits>
#include <random>
#include <set>

#include "base/testing/fake_clock.h"
#include "engine/testing/checking_runner.h"
#include "kv/testing/narrow_hashes.h"

namespace dynamo::engine {
namespace {

constexpr uint32_t kVocab = 50;

struct Collected final : ChunkSink {
  void on_chunk(TokenChunk chunk) override {
    CHECK(!finish && failure.is_ok());
    tokens.insert(tokens.end(), chunk.tokens.begin(), chunk.tokens.end());
    cached = chunk.cached_tokens;
    finish = chunk.finish;
  }
  void on_failure(Status status) override { failure = std::move(status); }
  void on_sign_of_life() override { ++signs; }

  std::vector<TokenId> tokens;
  uint32_t cached = 0;
  std::optional<FinishReason> finish;
  Status failure;
  int signs = 0;
};

// The set of blocks that the events say are cached.
struct Replay final : kv::KvEventSink {
  void on_kv_event(kv::KvEvent event) override {
    CHECK(event.tier == kv::Tier::kDevice);
    if (event.what == kv::KvEvent::What::kCleared) blocks.clear();
    for (const auto& hash : event.blocks) {
      const bool is_stored = event.what == kv::KvEvent::What::kStored;
      CHECK(is_stored ? blocks.insert(hash.bits).second : blocks.erase(hash.bits) == 1);
    }
  }
  std::set<uint64_t> blocks;
};

// By steps under way.
class EngineCoreTest : public testing::TestWithParam<uint32_t> {
 protected:
  void start(uint32_t blocks, uint32_t batch_tokens, uint32_t sequences = 64) {
    start_at(GetParam(), blocks, batch_tokens, sequences);
  }
  void start_at(uint32_t depth, uint32_t blocks, uint32_t batch_tokens, uint32_t sequences = 64) {
    auto runner = std::make_unique<CheckingRunner>(kVocab, std::span<std::byte>(), depth);
    runner_ = runner.get();
    options_ = {.block_tokens = 4,
                .kv_blocks = blocks,
                .context_length = 200,
                .vocab_size = kVocab,
                .max_batch_tokens = batch_tokens,
                .max_sequences = sequences,
                .max_waiting = 1000};
    core_ = std::make_unique<EngineCore>(options_, std::move(runner), &clock_, &events_, &metrics_, MetricLabels{});
  }
  static GenerateRequest request(std::vector<TokenId> prompt, uint32_t max_tokens) {
    GenerateRequest request;
    request.prompt.tokens = std::move(prompt);
    request.stop.max_tokens = max_tokens;
    return request;
  }
  std::shared_ptr<Collected> add(GenerateRequest request) {
    auto sink = std::make_shared<Collected>();
    CHECK(EngineCore::check(options_, request).is_ok());
    core_->add(SequenceId{++last_id_}, std::move(request), sink);
    return sink;
  }
  void run() {
    for (int i = 0; core_->has_work(); ++i) {
      ASSERT_LT(i, 100000);
      core_->step();
      core_->pool().check_invariants();
    }
    EXPECT_EQ(core_->load().used_blocks, 0u);
    EXPECT_EQ(events_.blocks.size(), core_->load().cached_blocks);
  }
  // One step at a time.
  std::vector<TokenId> alone(const GenerateRequest& request) {
    start_at(/*depth=*/1, 100, 512);
    events_.blocks.clear();
    const auto sink = add(request);
    run();
    return sink->tokens;
  }

  FakeClock clock_;
  Metrics metrics_;
  Replay events_;
  EngineOptions options_;
  CheckingRunner* runner_ = nullptr;
  std::unique_ptr<EngineCore> core_;
  uint64_t last_id_ = 0;
};

std::vector<TokenId> counted(size_t size, TokenId first = 0) {
  std::vector<TokenId> tokens(size);
  for (size_t i = 0; i < size; ++i) tokens[i] = static_cast<TokenId>((first + i * 7) % kVocab);
  return tokens;
}

TEST_P(EngineCoreTest, ChunkSizeDoesNotChangeTheAnswer) {
  const auto expected = alone(request(counted(37), 20));
  ASSERT_EQ(expected.size(), 20u);
  for (const uint32_t chunk : {1, 3, 4, 5, 15, 16, 17, 512}) {
    start(100, chunk);
    events_.blocks.clear();
    const auto sink = add(request(counted(37), 20));
    run();
    EXPECT_EQ(sink->tokens, expected) << chunk;
    EXPECT_EQ(sink->finish, FinishReason::kLength);
    EXPECT_LE(runner_->largest_step, chunk);
  }
}

TEST_P(EngineCoreTest, ASecondRequestReusesTheFirstOnesBlocksButComputesAtLeastOneToken) {
  start(100, 512);
  const auto first = add(request(counted(16), 4));
  run();
  const auto again = add(request(counted(16), 4));
  run();
  EXPECT_EQ(first->cached, 0u);
  EXPECT_EQ(again->cached, 12u);
  EXPECT_EQ(again->tokens, first->tokens);
  auto salted = request(counted(16), 4);
  salted.prompt.salt = {5, 0};
  const auto other = add(salted);
  run();
  EXPECT_EQ(other->cached, 0u);
}

TEST_P(EngineCoreTest, ABlockIsComputedOnceWhenTwoAskForItTogether) {
  start(100, 512);
  const auto first = add(request(counted(33), 4));
  const auto second = add(request(counted(33), 4));
  run();
  EXPECT_EQ(first->cached, 0u);
  EXPECT_EQ(second->cached, 32u);
  EXPECT_EQ(first->tokens, second->tokens);
}

TEST_P(EngineCoreTest, CancellingTheOneThatComputesLetsTheOneThatWaitsGoOn) {
  start(100, 4);
  const auto first = add(request(counted(33), 4));
  const SequenceId cancelled{last_id_};
  const auto second = add(request(counted(33), 4));
  core_->step();
  core_->step();
  core_->cancel(cancelled);
  run();
  EXPECT_TRUE(first->tokens.empty());
  EXPECT_EQ(second->tokens, alone(request(counted(33), 4)));
}

TEST_P(EngineCoreTest, StopIdsEndTheAnswerOnceMinimumTokensAreReached) {
  const auto free_run = alone(request(counted(9), 12));
  auto stopped = request(counted(9), 12);
  stopped.stop.stop_token_ids = {free_run[3]};
  const auto tokens = alone(stopped);
  const auto end = std::find(free_run.begin(), free_run.end(), free_run[3]) - free_run.begin() + 1;
  EXPECT_EQ(tokens, std::vector<TokenId>(free_run.begin(), free_run.begin() + end));
  start(100, 512);
  events_.blocks.clear();
  const auto sink = add(stopped);
  run();
  EXPECT_EQ(sink->tokens, tokens);
  EXPECT_EQ(sink->finish, FinishReason::kStop);
  EXPECT_EQ(runner_->most_under_way, GetParam());
}

// Until the device has gone past all that was issued before, what the answer had stays.
TEST_P(EngineCoreTest, WhatAStepUnderWayTouchesIsNotGivenToOthersWhenItsAnswerEnds) {
  const auto free_run = alone(request(counted(9), 12));
  auto stopped = request(counted(9), 12);
  stopped.stop.stop_token_ids = {free_run[3]};
  for (const bool is_cancelled : {false, true}) {
    start(/*blocks=*/20, 512);
    events_.blocks.clear();
    const auto sink = add(is_cancelled ? request(counted(9), 12) : stopped);
    const SequenceId id{last_id_};
    while (is_cancelled ? sink->tokens.size() < 4 : !sink->finish) core_->step();
    if (is_cancelled) core_->cancel(id);
    EXPECT_EQ(core_->load().running, 0U);
    EXPECT_EQ(core_->load().used_blocks > 0, GetParam() > 1);
    EXPECT_EQ(core_->has_work(), GetParam() > 1);
    const auto other = add(request(counted(40, 5), 12));  // needs most of the pool
    run();
    EXPECT_EQ(other->tokens, alone(request(counted(40, 5), 12)));
    EXPECT_EQ(sink->tokens.size(), 4U);
  }
}

TEST_P(EngineCoreTest, EndingAllLeavesNothingUnderWay) {
  start(100, 512);
  events_.blocks.clear();
  const auto one = add(request(counted(9), 12));
  const auto other = add(request(counted(9, 3), 12));
  for (int i = 0; i < 3; ++i) core_->step();
  core_->fail_all(unavailable("over"));
  EXPECT_EQ(one->failure.code(), Code::kUnavailable);
  EXPECT_EQ(other->failure.code(), Code::kUnavailable);
  EXPECT_EQ(one->tokens.size(), 3U);
  EXPECT_FALSE(core_->has_work());
  EXPECT_EQ(core_->load().used_blocks, 0U);
  core_->pool().check_invariants();
}

TEST_P(EngineCoreTest, AStepThatDoesNotBeginFailsItsSequencesAlone) {
  const auto expected = alone(request(counted(9, 3), 12));
  start(100, 512, /*sequences=*/1);
  events_.blocks.clear();
  const auto lost = add(request(counted(9), 12));
  const auto served = add(request(counted(9, 3), 12));
  core_->step();
  runner_->fail_next_begin = true;
  run();
  EXPECT_EQ(lost->failure.code(), Code::kUnavailable);
  EXPECT_NE(lost->failure.text().find("the device is gone"), std::string::npos);
  EXPECT_EQ(served->tokens, expected);
}

TEST_P(EngineCoreTest, AnAnswerBrokenOffAnywhereGoesOnAsIfItHadNotBeen) {
  const std::vector<TokenId> prompt = {3, 1, 4, 1, 5};
  const auto whole = alone(request(prompt, 12));
  ASSERT_EQ(whole.size(), 12U);
  for (uint32_t sent = 1; sent < 12; ++sent) {
    GenerateRequest rest = request(prompt, 12);
    rest.prompt.tokens.insert(rest.prompt.tokens.end(), whole.begin(), whole.begin() + sent);
    rest.drawn_before = sent;
    EXPECT_EQ(alone(rest), std::vector<TokenId>(whole.begin() + sent, whole.end()));
  }
  GenerateRequest wrong = request(prompt, 12);
  wrong.drawn_before = 5;
  EXPECT_EQ(EngineCore::check(options_, wrong).code(), Code::kInvalid);
}

TEST_P(EngineCoreTest, TheContextEndsTheAnswer) {
  const auto tokens = alone(request(counted(190), 500));
  EXPECT_EQ(tokens.size(), 10u);
}

TEST_P(EngineCoreTest, WhatCannotFitIsRefusedWithBothNumbers) {
  start(10, 512);
  const Status blocks = EngineCore::check(options_, request(counted(30), 30));
  EXPECT_EQ(blocks.code(), Code::kInvalid);
  EXPECT_NE(blocks.text().find("15"), std::string::npos);
  EXPECT_NE(blocks.text().find("10"), std::string::npos);
  EXPECT_NE(EngineCore::check(options_, request(counted(200), 1)).text().find("200"), std::string::npos);
  EXPECT_EQ(EngineCore::check(options_, request({}, 1)).code(), Code::kInvalid);
  EXPECT_EQ(EngineCore::check(options_, request({kVocab}, 1)).code(), Code::kInvalid);
}

TEST_P(EngineCoreTest, ADeadlineEndsARequestWhereverItIs) {
  start(100, 4, /*sequences=*/1);
  auto late = request(counted(33), 4);
  late.deadline = clock_.now() + std::chrono::seconds(1);
  const auto running = add(late);
  const auto waiting = add(late);
  core_->step();
  clock_.advance(std::chrono::seconds(2));
  run();
  EXPECT_EQ(running->failure.code(), Code::kDeadline);
  EXPECT_EQ(waiting->failure.code(), Code::kDeadline);
}

using std::chrono::seconds;

TEST_P(EngineCoreTest, ASignOfLifeComesWhereThereIsNothingToShowForAQuarterOfTheSilenceLimit) {
  start(100, /*batch_tokens=*/4, /*sequences=*/1);
  GenerateRequest asking = request(counted(36), 3);
  asking.silence_limit = seconds(8);
  const auto first = add(asking);
  asking.prompt.tokens = counted(36, 5);
  const auto second = add(asking);
  const auto silent = add(request(counted(36, 9), 3));
  const auto step = [&](int times) {
    for (int i = 0; i < times; ++i) {
      clock_.advance(seconds(1));
      core_->step();
    }
  };
  step(8);  // of the nine that the prompt takes
  EXPECT_EQ(first->signs, 4);
  EXPECT_EQ(second->signs, 4);
  EXPECT_TRUE(core_->load().is_full);
  step(3);
  EXPECT_EQ(first->finish, FinishReason::kLength);
  EXPECT_EQ(first->signs, 4);
  EXPECT_EQ(second->signs, 5);
  run();
  EXPECT_EQ(second->finish, FinishReason::kLength);
  EXPECT_EQ(silent->signs, 0);
}

// Takes `parts` seconds for a step, and says that it gets on after each, unless it hangs.
class LongRunner final : public StepRunner {
 public:
  LongRunner(FakeClock* clock, int parts, bool hangs) : clock_(clock), parts_(parts), hangs_(hangs) {}
  uint32_t depth() const override { return 1; }  // it computes in begin()
  Status begin(const kernels::Step& step) override {
    for (int i = 0; i < parts_; ++i) {
      clock_->advance(seconds(1));
      if (!hangs_) step.gets_on();
    }
    during_ = sink->signs;
    draws_ = step.draws.size();
    return {};
  }
  Result<std::vector<Result<DrawnToken>>> finish() override {
    return std::vector<Result<DrawnToken>>(draws_, DrawnToken{});
  }
  std::shared_ptr<Collected> sink = std::make_shared<Collected>();
  int during_ = 0;

 private:
  FakeClock* clock_;
  int parts_;
  bool hangs_;
  size_t draws_ = 0;
};

TEST_P(EngineCoreTest, AStepThatTakesLongGivesSignsOfLifeWhileItGetsOnAndNoneWhileItHangs) {
  for (const bool hangs : {false, true}) {
    start(100, 512);
    auto runner = std::make_unique<LongRunner>(&clock_, /*parts=*/20, hangs);
    LongRunner* const longer = runner.get();
    core_ = std::make_unique<EngineCore>(options_, std::move(runner), &clock_, nullptr, &metrics_, MetricLabels{});
    GenerateRequest asking = request(counted(36), 1);
    asking.silence_limit = seconds(4);
    core_->add(SequenceId{1}, asking, longer->sink);
    core_->step();
    EXPECT_EQ(longer->during_, hangs ? 0 : 20);
    EXPECT_EQ(longer->sink->finish, FinishReason::kLength);
  }
}

TEST_P(EngineCoreTest, IsFullWhereSomeWaitForBlocksAndNotWhereTheyWaitForTheirTurnInAStep) {
  start(/*blocks=*/30, /*batch_tokens=*/8);
  add(request(counted(28), 30));  // takes the first three steps alone
  add(request(counted(20, 5), 30));
  core_->step();
  EXPECT_EQ(core_->load().waiting, 1U);
  EXPECT_FALSE(core_->load().is_full);
  while (core_->load().waiting > 0) core_->step();
  add(request(counted(100, 9), 4));
  for (int i = 0; i < 5; ++i) core_->step();
  EXPECT_EQ(core_->load().waiting, 1U);
  EXPECT_TRUE(core_->load().is_full);
  run();
  EXPECT_FALSE(core_->load().is_full);
}

TEST_P(EngineCoreTest, AFailedStepFailsItsSequencesSoThatTheyGoElsewhereAndTheNextRequestIsServed) {
  start(100, 512);
  const auto lost = add(request(counted(9), 4));
  const auto too = add(request(counted(9, 3), 4));
  runner_->fail_next = true;
  run();
  for (const auto& one : {lost, too}) {
    EXPECT_EQ(one->failure.code(), Code::kUnavailable);
    EXPECT_NE(one->failure.text().find("the device failed"), std::string::npos);
  }
  const auto served = add(request(counted(9), 4));
  run();
  EXPECT_EQ(served->tokens.size(), 4u);
}

TEST_P(EngineCoreTest, WhatFindsNoTokenFailsAloneWhateverItsStepHolds) {
  const std::vector<TokenId> expected = alone(request(counted(9, 3), 12));
  for (const Status& failure : {invalid("nothing is left"), internal("no numbers")}) {
    for (const size_t drawn_before : {0, 5}) {
      start(100, 512);
      events_.blocks.clear();
      const GenerateRequest bad = request(counted(17), 12);
      runner_->spoil = [&](const kernels::Draw& sample, DrawnToken token) -> Result<DrawnToken> {
        if (std::ranges::equal(sample.prompt, bad.prompt.tokens) && sample.index == drawn_before) return failure;
        return token;
      };
      const auto failed = add(bad);
      const auto beside = add(request(counted(9, 3), 12));
      run();
      EXPECT_EQ(failed->failure.to_string(), failure.to_string());
      EXPECT_EQ(failed->tokens.size(), drawn_before);
      EXPECT_FALSE(failed->finish);
      EXPECT_EQ(beside->tokens, expected);
      runner_->spoil = nullptr;
      // What is broken may be in its blocks, which nobody else is to find; a request that is only wrong leaves good ones.
      const auto next = add(request(counted(17), 1));
      run();
      EXPECT_EQ(next->cached, failure.code() == Code::kInvalid ? 16U : 0U);
    }
  }
}

TEST_P(EngineCoreTest, WhatFollowsABrokenSequencesBlocksIsForgottenWithThem) {
  start(100, 512);
  auto longer = request(counted(33), 1);
  add(longer);  // leaves the shorter one's blocks and four more
  add(request(counted(20, 5), 1));
  run();
  ASSERT_EQ(core_->load().cached_blocks, 8U + 5U);
  const auto holder = add(request(counted(33), 30));  // holds them while they are forgotten
  core_->step();
  runner_->spoil = [](const kernels::Draw& sample, DrawnToken token) -> Result<DrawnToken> {
    if (sample.prompt.size() == 17) return internal("no numbers");
    return token;
  };
  const auto broken = add(request(counted(17), 4));
  for (uint32_t i = 0; i < GetParam(); ++i) core_->step();
  core_->pool().check_invariants();
  EXPECT_EQ(broken->failure.code(), Code::kInternal);
  EXPECT_EQ(events_.blocks.size(), 5U) << "those of the other prompt alone";
  run();
  EXPECT_EQ(holder->tokens.size(), 30U);
  const auto again = add(longer);
  run();
  EXPECT_EQ(again->cached, 0U);
}

TEST_P(EngineCoreTest, NumbersThatNoSamplerBearsAreRefusedByName) {
  start(100, 512);
  for (const float value :
       {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(), -1.0F, 0.0F}) {
    GenerateRequest bad = request(counted(9), 4);
    bad.sampling.repetition_penalty = value;
    const Status status = EngineCore::check(options_, bad);
    EXPECT_EQ(status.code(), Code::kInvalid);
    EXPECT_NE(status.text().find("repetition_penalty"), std::string::npos);
  }
}

TEST_P(EngineCoreTest, HigherPriorityIsAdmittedFirst) {
  start(100, 512, /*sequences=*/1);
  const auto low = add(request(counted(9, 1), 3));
  auto urgent = request(counted(9, 2), 3);
  urgent.priority = 1;
  const auto high = add(urgent);
  for (int i = 0; i < 3; ++i) core_->step();
  EXPECT_TRUE(high->finish.has_value());
  EXPECT_TRUE(low->tokens.empty());
  run();
}

TEST_P(EngineCoreTest, APromptThatIsPreemptedBeforeItsFirstBlockIsFullIsCountedOnce) {
  start(/*blocks=*/4, /*batch_tokens=*/2);
  const auto first = add(request(counted(3), 10));
  const auto second = add(request(counted(12, 1), 1));
  run();
  EXPECT_TRUE(first->finish && second->finish);
  const std::string text = metrics_.expose();
  for (const char* sample : {"preemptions_total 1", "prompt_tokens_total 15", "queue_seconds_count 2"})
    EXPECT_NE(text.find(std::string("\ndynamo_engine_") + sample + "\n"), std::string::npos) << sample;
}

// Random arrivals and cancels in pools so small that sequences are preempted all the time: every answer is the one it would have been
// alone, every block comes back, and the events tell the cache.
TEST_P(EngineCoreTest, AnswersDoNotDependOnWhatElseRuns) {
  uint64_t preempted = 0;
  for (uint32_t seed = 0; seed < 90; ++seed) {
    std::mt19937 random(seed);
    std::vector<GenerateRequest> requests;
    std::vector<std::vector<TokenId>> expected;
    for (int i = 0; i < 12; ++i) {
      requests.push_back(request(counted(1 + random() % 40, random() % 3), 1 + random() % 25));
      requests.back().priority = static_cast<int32_t>(random() % 3);
      expected.push_back(alone(requests.back()));
    }
    start(17 + random() % 20, 1 + random() % 40, 1 + random() % 12);
    events_.blocks.clear();
    std::vector<std::pair<std::shared_ptr<Collected>, bool>> sinks;
    for (const GenerateRequest& one : requests) {
      sinks.emplace_back(add(one), false);
      for (uint32_t i = random() % 4; i > 0 && core_->has_work(); --i) core_->step();
      if (random() % 6 == 0) {
        core_->cancel(SequenceId{last_id_});
        sinks.back().second = true;
      }
    }
    run();
    for (size_t i = 0; i < sinks.size(); ++i) {
      if (sinks[i].second) continue;
      ASSERT_EQ(sinks[i].first->tokens, expected[i]) << "seed " << seed << " request " << i;
    }
    const std::string text = metrics_.expose();
    preempted = std::stoull(text.substr(text.find("\ndynamo_engine_preemptions_total ") + 33));
  }
  EXPECT_GT(preempted, 100u);
}

TEST_P(EngineCoreTest, APromptOfOtherThingsThanTokensIsRefusedByPlace) {
  start(10, 64);
  GenerateRequest asked = request(counted(16), 4);
  asked.prompt.spans = {{3, 9, {1, 2}}};
  const Status refused = EngineCore::check(options_, asked);
  EXPECT_EQ(refused.code(), Code::kUnsupported);
  EXPECT_NE(refused.text().find("[3, 9)"), std::string::npos) << refused.text();
  asked.prompt.spans = {{3, 19, {1, 2}}};
  EXPECT_EQ(EngineCore::check(options_, asked).code(), Code::kInvalid);
}

// Blocks whose hashes collide, as clients can make them.
class CollidingBlocks : public EngineCoreTest {
 protected:
  // The first block of a prompt with the hash of `block` and other tokens. Requires: hashes are narrow.
  static std::vector<TokenId> other_of_the_same_hash(const std::vector<TokenId>& block) {
    for (TokenId i = 0;; ++i) {
      CHECK(i < kVocab * kVocab * kVocab);
      const std::vector<TokenId> other = {i % kVocab, i / kVocab % kVocab, i / kVocab / kVocab, 1};
      if (other != block && kv::hash_chain({other}, 4) == kv::hash_chain({block}, 4)) return other;
    }
  }
  static std::vector<TokenId> joined(std::vector<TokenId> a, const std::vector<TokenId>& b) {
    a.insert(a.end(), b.begin(), b.end());
    return a;
  }

  // Wide enough that nothing collides but what is made to.
  const kv::NarrowHashes narrow_{12};
  const std::vector<TokenId> known_ = {7, 8, 9, 10};
  const std::vector<TokenId> rest_ = {20, 21, 22, 23, 24};  // a block and a token
};

TEST_P(CollidingBlocks, ABlockThatWasComputedAfterAnotherOfTheSameHashIsNotReused) {
  const GenerateRequest victim = request(joined(known_, rest_), 6);
  const auto expected = alone(victim);
  start(100, 512);
  events_.blocks.clear();
  add(request(joined(known_, {1}), 1));
  run();
  const auto attacker = add(request(joined(other_of_the_same_hash(known_), rest_), 1));
  run();
  EXPECT_EQ(attacker->cached, 0u);
  const auto first = add(victim);
  run();
  EXPECT_EQ(first->cached, 4u);
  EXPECT_EQ(first->tokens, expected);
  const auto again = add(victim);
  run();
  EXPECT_EQ(again->cached, 8u);
  EXPECT_EQ(again->tokens, expected);
}

TEST_P(CollidingBlocks, WhoTakesAHashFirstKeepsOthersOutOfTheCacheUntilItIsGivenUpAndNoLonger) {
  start(100, 512);
  add(request(joined(other_of_the_same_hash(known_), {1}), 1));
  run();
  const GenerateRequest victim = request(joined(known_, rest_), 6);
  const auto denied = add(victim);
  const auto another = add(victim);
  core_->step();
  EXPECT_EQ(core_->load().running, 2u);  // nothing comes of waiting for each other
  run();
  EXPECT_EQ(denied->cached + another->cached, 0u);
  EXPECT_EQ(denied->tokens, another->tokens);
  core_->clear_cache();
  events_.blocks.clear();
  add(victim);
  run();
  const auto served = add(victim);
  run();
  EXPECT_EQ(served->cached, 8u);
  EXPECT_EQ(served->tokens, denied->tokens);
}

TEST_P(CollidingBlocks, ASequenceDoesNotWaitForAnotherContentOfTheSameHash) {
  start(100, 512);
  const auto one = add(request(joined(known_, {1}), 4));
  const auto other = add(request(joined(other_of_the_same_hash(known_), {1}), 4));
  core_->step();
  EXPECT_EQ(core_->load().running, 2u);
  EXPECT_EQ(one->tokens.size(), 1u);
  EXPECT_EQ(other->tokens.size(), 1u);
  run();
}

// Random prompts out of few blocks, so that the same block follows different ones, with hashes so narrow that all of it collides:
// answers are those of engines that are empty, and nothing waits for ever.
TEST_P(EngineCoreTest, BlocksThatCollideChangeNoAnswer) {
  uint64_t cached = 0;
  uint64_t preempted = 0;
  for (const int bits : {1, 3, 6}) {
    const kv::NarrowHashes narrow(bits);
    for (uint32_t seed = 0; seed < 300; ++seed) {
      std::mt19937 random(seed);
      std::vector<std::pair<GenerateRequest, std::shared_ptr<Collected>>> asked;
      std::set<size_t> cancelled;
      start(16 + random() % 20, 1 + random() % 40, 1 + random() % 12);
      events_.blocks.clear();
      for (int i = 0; i < 16; ++i) {
        std::vector<TokenId> prompt;
        for (uint32_t block = random() % 9; block > 0; --block) prompt.insert(prompt.end(), 4, random() % 3);
        prompt.resize(prompt.size() + 1 + random() % 4, random() % 3);
        GenerateRequest one = request(prompt, 1 + random() % 16);
        one.priority = static_cast<int32_t>(random() % 2);
        one.prompt.salt.low = random() % 4 == 0;
        asked.emplace_back(one, add(one));
        for (uint32_t steps = random() % 6; steps > 0 && core_->has_work(); --steps) {
          core_->step();
          core_->pool().check_invariants();
        }
        if (random() % 8 == 0) {
          core_->cancel(SequenceId{last_id_});
          cancelled.insert(asked.size() - 1);
        }
        if (random() % 16 == 0) core_->clear_cache();
      }
      run();
      const std::string text = metrics_.expose();
      preempted = std::stoull(text.substr(text.find("\ndynamo_engine_preemptions_total ") + 33));
      for (size_t i = 0; i < asked.size(); ++i) {
        cached += asked[i].second->cached;
        if (!cancelled.contains(i)) {
          ASSERT_EQ(asked[i].second->tokens, alone(asked[i].first))
              << bits << " bits, seed " << seed << " request " << i;
        }
      }
    }
  }
  EXPECT_GT(cached, 1000u);
  EXPECT_GT(preempted, 100u);
}

INSTANTIATE_TEST_SUITE_P(StepsUnderWay, EngineCoreTest, testing::Values(1, 2, 3), testing::PrintToStringParamName());
INSTANTIATE_TEST_SUITE_P(StepsUnderWay, CollidingBlocks, testing::Values(1, 2, 3), testing::PrintToStringParamName());

}  // namespace
}  // namespace dynamo::engine
