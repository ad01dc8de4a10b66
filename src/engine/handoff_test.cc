// Two engines and the blocks between them, moved by hand: in any order, late, with failures, with pools too small for comfort.
#include <gtest/gtest.h>

#include <cstring>
#include <map>
#include <random>

#include "base/testing/fake_clock.h"
#include "engine/engine_core.h"
#include "engine/testing/checking_runner.h"
#include "kv/testing/narrow_hashes.h"

namespace dynamo::engine {
namespace {

constexpr uint32_t kVocab = 50;
constexpr uint32_t kBlock = 4;
constexpr size_t kBlockBytes = kBlock * CheckingRunner::kTokenBytes;

struct Collected final : ChunkSink {
  void on_chunk(TokenChunk chunk) override {
    CHECK(!finish && failure.is_ok());
    tokens.insert(tokens.end(), chunk.tokens.begin(), chunk.tokens.end());
    cached = chunk.cached_tokens;
    finish = chunk.finish;
  }
  void on_failure(Status status) override { failure = std::move(status); }
  void on_sign_of_life() override { ++signs; }
  bool is_over() const { return finish || !failure.is_ok(); }

  std::vector<TokenId> tokens;
  uint32_t cached = 0;
  std::optional<FinishReason> finish;
  Status failure;
  int signs = 0;
};

// An engine with a pool of bytes.
struct End {
  End(uint32_t blocks, uint32_t batch_tokens, const Clock* clock, uint32_t depth) : pool(blocks * kBlockBytes) {
    options = {.block_tokens = kBlock,
               .kv_blocks = blocks,
               .context_length = 200,
               .vocab_size = kVocab,
               .max_batch_tokens = batch_tokens,
               .max_sequences = 16,
               .max_waiting = 1000};
    auto runner = std::make_unique<CheckingRunner>(kVocab, std::as_writable_bytes(std::span(pool)), depth);
    core =
        std::make_unique<EngineCore>(options, std::move(runner), clock, /*events=*/nullptr, &metrics, MetricLabels{});
  }
  void step() {
    if (core->has_work()) core->step();
    core->pool().check_invariants();
  }
  uint64_t preemptions() const {
    const std::string text = metrics.expose();
    constexpr std::string_view kName = "\ndynamo_engine_preemptions_total ";
    return std::stoull(text.substr(text.find(kName) + kName.size()));
  }
  std::vector<char> pool;
  Metrics metrics;
  EngineOptions options;
  std::unique_ptr<EngineCore> core;
  uint64_t last_id = 0;
};

// Both ends and everything that is on its way between them.
struct Pair {
  Pair(uint32_t depth, uint64_t seed, uint32_t prefill_blocks, uint32_t decode_blocks, double trouble)
      : random(seed),
        trouble(trouble),
        prefill(prefill_blocks, 1 + seed % 20, &clock, depth),
        decode(decode_blocks, 64, &clock, depth) {}

  bool chance(double probability) { return static_cast<double>(random() % 1000) < probability * 1000; }

  struct Transfer;
  std::shared_ptr<Collected> add(const GenerateRequest& request);
  void deliver_some();
  bool is_quiet() const { return transfers.empty() && !prefill.core->has_work() && !decode.core->has_work(); }
  void step() {
    prefill.step();
    deliver_some();
    decode.step();
  }

  std::mt19937_64 random;
  double trouble;
  FakeClock clock;
  End prefill;
  End decode;
  std::vector<std::shared_ptr<Transfer>> transfers;
  uint64_t moved_blocks = 0;
};

// One attempt at one prompt: target of one engine, and the answer's first token from it.
struct Pair::Transfer final : BlockTarget, ChunkSink {
  struct Chunk {
    uint32_t computed;
    uint32_t first_new;
    std::vector<BlockId> blocks;
  };
  void on_started(SequenceId) override { CHECK(!std::exchange(has_started, true)); }
  void on_computed(SequenceId, uint32_t computed, uint32_t first_new, std::vector<BlockId> blocks) override {
    chunks.push_back({computed, std::max(first_new, missing_from), std::move(blocks)});
  }
  void on_chunk(TokenChunk chunk) override {
    first = DrawnToken{chunk.tokens.front(), {}};
    cached = chunk.cached_tokens;
    has_ended = true;
  }
  void on_failure(Status) override { has_ended = true; }
  void on_sign_of_life() override {}

  SequenceId prefill_id;
  SequenceId decode_id;
  uint32_t attempt = 0;
  uint32_t missing_from = 0;            // block
  std::vector<BlockId> to;              // the prompt's blocks where they go
  std::vector<Chunk> chunks;            // computed and not delivered
  std::map<uint32_t, uint32_t> landed;  // tokens by first block, of chunks that came before those in front of them
  uint32_t next_block = 0;              // delivered without a gap up to here
  std::optional<DrawnToken> first;
  uint32_t cached = 0;
  bool has_started = false;
  bool has_ended = false;  // the prefilling engine has
  bool is_unwanted = false;
};

struct Source final : BlockSource {
  Source(Pair* pair, GenerateRequest request) : pair(pair), request(std::move(request)) {}
  bool has_more(uint32_t) const override { return true; }
  void on_reserved(SequenceId id, uint32_t attempt, uint32_t cached_tokens, std::vector<BlockId> blocks) override {
    auto transfer = std::make_shared<Pair::Transfer>();
    transfer->prefill_id = SequenceId{++pair->prefill.last_id};
    transfer->decode_id = id;
    transfer->attempt = attempt;
    transfer->missing_from = transfer->next_block = cached_tokens / kBlock;
    transfer->to = std::move(blocks);
    GenerateRequest first = request;
    first.stop.max_tokens = request.drawn_before + 1;
    pair->transfers.push_back(transfer);
    pair->prefill.core->add(transfer->prefill_id, std::move(first), transfer, {.source = nullptr, .target = transfer});
    current = transfer;
  }
  void on_given_up(SequenceId) override { current->is_unwanted = true; }

  Pair* pair;
  GenerateRequest request;
  std::shared_ptr<Pair::Transfer> current;
};

std::shared_ptr<Collected> Pair::add(const GenerateRequest& request) {
  auto sink = std::make_shared<Collected>();
  CHECK(EngineCore::check(decode.options, request).is_ok());
  decode.core->add(SequenceId{++decode.last_id}, request, sink,
                   {.source = std::make_shared<Source>(this, request), .target = nullptr});
  return sink;
}

void Pair::deliver_some() {
  for (size_t i = 0; i < transfers.size();) {
    const std::shared_ptr<Transfer> one = transfers[i];
    if (!one->has_ended && (one->is_unwanted || chance(trouble / 10))) {
      prefill.core->cancel(one->prefill_id);
      one->has_ended = true;
    }
    while (!one->chunks.empty() && chance(0.6)) {
      const size_t at = random() % one->chunks.size();
      const Transfer::Chunk chunk = one->chunks[at];
      one->chunks.erase(one->chunks.begin() + static_cast<ptrdiff_t>(at));
      for (size_t block = chunk.first_new; block < chunk.blocks.size(); ++block) {
        std::memcpy(decode.pool.data() + one->to.at(block).value * kBlockBytes,
                    prefill.pool.data() + chunk.blocks[block].value * kBlockBytes, kBlockBytes);
        ++moved_blocks;
      }
      prefill.core->release(chunk.blocks);
      if (chunk.first_new >= chunk.blocks.size()) continue;
      one->landed[chunk.first_new] = chunk.computed;
      for (auto next = one->landed.begin(); next != one->landed.end() && next->first == one->next_block;
           next = one->landed.erase(next)) {
        decode.core->received(one->decode_id, one->attempt, next->second);
        one->next_block = (next->second + kBlock - 1) / kBlock;
      }
    }
    if (!one->has_ended || !one->chunks.empty()) {
      ++i;
      continue;
    }
    if (one->first) {
      decode.core->received_all(one->decode_id, one->attempt, *one->first, one->cached);
    } else if (chance(0.5)) {
      decode.core->fetch_again(one->decode_id, one->attempt);
    } else {
      decode.core->prefill_here(one->decode_id, one->attempt, /*keeps_received=*/chance(0.5));
    }
    decode.core->release(one->to);
    transfers.erase(transfers.begin() + static_cast<ptrdiff_t>(i));
  }
}

GenerateRequest request_of(std::vector<TokenId> prompt, uint32_t max_tokens) {
  GenerateRequest request;
  request.prompt.tokens = std::move(prompt);
  request.stop.max_tokens = max_tokens;
  return request;
}

std::vector<TokenId> prompt_of(size_t size, TokenId family = 0) {
  std::vector<TokenId> tokens(size);
  for (size_t i = 0; i < size; ++i) tokens[i] = static_cast<TokenId>((i * 7 + (i < 8 ? 0 : family)) % kVocab);
  return tokens;
}

std::vector<TokenId> alone(const GenerateRequest& request) {
  FakeClock clock;
  End end(60, 64, &clock, /*depth=*/1);
  auto sink = std::make_shared<Collected>();
  end.core->add(SequenceId{1}, request, sink);
  while (end.core->has_work()) end.step();
  return sink->tokens;
}

// By steps under way at either end.
class Handoff : public testing::TestWithParam<uint32_t> {};

TEST_P(Handoff, TheAnswerIsThatOfOneEngineWhateverThePromptsLength) {
  for (const size_t size : {1, 3, 4, 5, 8, 15, 16, 17, 60, 150}) {
    for (const uint32_t max_tokens : {1U, 2U, 30U}) {
      const GenerateRequest request = request_of(prompt_of(size), max_tokens);
      Pair pair(GetParam(), size, 60, 60, /*trouble=*/0);
      const auto sink = pair.add(request);
      for (int i = 0; !pair.is_quiet(); ++i) {
        ASSERT_LT(i, 10000);
        pair.step();
      }
      EXPECT_EQ(sink->tokens, alone(request)) << size;
      EXPECT_EQ(sink->cached, 0U);
      EXPECT_EQ(pair.prefill.core->load().used_blocks + pair.decode.core->load().used_blocks, 0U);
    }
  }
}

TEST_P(Handoff, WhatEitherEndHasIsNotComputedAgainAndWhatTheDecodingOneHasIsNotMoved) {
  Pair pair(GetParam(), 1, 60, 60, /*trouble=*/0);
  const auto run = [&](const GenerateRequest& request) {
    const auto sink = pair.add(request);
    pair.moved_blocks = 0;
    while (!pair.is_quiet()) pair.step();
    EXPECT_EQ(sink->tokens, alone(request));
    return sink;
  };
  const auto first = run(request_of(prompt_of(20), 6));
  EXPECT_EQ(pair.moved_blocks, 5U);
  // The next turn: the decoding end holds prompt and answer, but the last token's block.
  GenerateRequest next = request_of(prompt_of(20), 6);
  next.prompt.tokens.insert(next.prompt.tokens.end(), first->tokens.begin(), first->tokens.end());
  for (TokenId token = 1; token < 8; ++token) next.prompt.tokens.push_back(token);
  const auto second = run(next);
  EXPECT_EQ(pair.moved_blocks, 9U - 6U);
  EXPECT_EQ(second->cached, 24U);
  // Another end without any of it takes what the prefilling one has.
  pair.decode.core->clear_cache();
  const auto third = run(next);
  EXPECT_EQ(pair.moved_blocks, 9U);
  EXPECT_EQ(third->cached, 32U);
}

TEST_P(Handoff, WhoWaitsForAPromptHearsOfWhoComputesItAndWhoWaitsForRoomOfTheEngine) {
  using std::chrono::seconds;
  Pair pair(GetParam(), 1, 60, /*decode_blocks=*/20, /*trouble=*/0);
  GenerateRequest asking = request_of(prompt_of(60), 2);
  asking.silence_limit = seconds(4);
  const auto receiving = pair.add(asking);
  const auto waiting = pair.add(asking);
  pair.decode.step();
  ASSERT_EQ(pair.decode.core->load().running, 1U);
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(pair.decode.core->next_deadline(), pair.clock.now() + seconds(1));
    pair.clock.advance(seconds(1));
    pair.decode.step();
  }
  EXPECT_EQ(receiving->signs, 0);
  EXPECT_EQ(waiting->signs, 3);
  for (int i = 0; i < 2; ++i) pair.decode.core->received(SequenceId{1}, /*attempt=*/1, /*tokens=*/0);
  EXPECT_EQ(receiving->signs, 1);
  EXPECT_EQ(waiting->signs, 3);
}

TEST_P(Handoff, APromptIsQueuedWhereItIsComputed) {
  Pair pair(GetParam(), 1, 60, 60, /*trouble=*/0);
  const auto sink = pair.add(request_of(prompt_of(20), 6));
  pair.decode.step();
  EXPECT_EQ(pair.prefill.core->load().queued_tokens, 20U);
  EXPECT_EQ(pair.decode.core->load().queued_tokens, 0U);
  while (!pair.is_quiet()) pair.step();
  EXPECT_EQ(pair.prefill.core->load().queued_tokens + pair.decode.core->load().queued_tokens, 0U);
}

TEST_P(Handoff, ResumedAnswersGoOnAsTheyWould) {
  const GenerateRequest whole = request_of(prompt_of(13), 20);
  const auto expected = alone(whole);
  for (uint32_t before = 1; before < 20; ++before) {
    SCOPED_TRACE(before);
    GenerateRequest rest = whole;
    rest.prompt.tokens.insert(rest.prompt.tokens.end(), expected.begin(), expected.begin() + before);
    rest.drawn_before = before;
    Pair pair(GetParam(), before, 60, 60, /*trouble=*/0);
    // The second finds all full blocks in the cache: where one token is left, it is the other worker's still.
    for (int round = 0; round < 2; ++round) {
      const auto sink = pair.add(rest);
      while (!pair.is_quiet()) pair.step();
      EXPECT_EQ(sink->tokens, std::vector<TokenId>(expected.begin() + before, expected.end())) << round;
    }
  }
}

// As where a worker becomes a prefill worker while it still answers: answers come first, and take room from prompts.
TEST_P(Handoff, APromptThatIsPreemptedWhereItIsComputedGoesOnAndEachBlockTravelsOnce) {
  const GenerateRequest answered = request_of(prompt_of(10, 1), 100);           // 28 blocks
  const GenerateRequest request = request_of(prompt_of(80, 2), 20);             // 20 blocks
  Pair pair(GetParam(), /*seed=*/1, /*prefill_blocks=*/30, 60, /*trouble=*/0);  // 2 tokens a step
  auto at_prefill = std::make_shared<Collected>();
  pair.prefill.core->add(SequenceId{++pair.prefill.last_id}, answered, at_prefill);
  while (at_prefill->tokens.size() < 20) pair.step();
  const auto sink = pair.add(request);
  while (!pair.is_quiet()) pair.step();
  EXPECT_EQ(at_prefill->tokens, alone(answered));
  EXPECT_EQ(sink->tokens, alone(request));
  EXPECT_EQ(pair.moved_blocks, 20U);
  EXPECT_GT(pair.prefill.preemptions(), 0U);
  EXPECT_NE(pair.prefill.metrics.expose().find("\ndynamo_engine_prompt_tokens_total 90\n"), std::string::npos)
      << pair.prefill.metrics.expose();
  EXPECT_EQ(pair.prefill.core->load().used_blocks + pair.decode.core->load().used_blocks, 0U);
}

// How many runs had preemptions, at either end.
struct Preempted {
  uint64_t decode = 0;
  uint64_t prefill = 0;
};

// Prompts that part after 8 tokens.
std::vector<TokenId> family_prompt(std::mt19937_64* random, size_t most) {
  const size_t size = 1 + (*random)() % most;
  return prompt_of(size, (*random)() % 3);
}

// Prompts out of few blocks, so that the same block follows different ones.
std::vector<TokenId> mixed_prompt(std::mt19937_64* random, size_t most) {
  std::vector<TokenId> tokens;
  for (size_t size = 1 + (*random)() % most; tokens.size() < size;)
    tokens.insert(tokens.end(), std::min<size_t>(kBlock, size - tokens.size()), (*random)() % 3);
  return tokens;
}

Preempted run_in_any_order(uint32_t depth, uint64_t seeds,
                           std::vector<TokenId> (*make_prompt)(std::mt19937_64*, size_t)) {
  Preempted preempted;
  for (uint64_t seed = 1; seed <= seeds && !testing::Test::HasFailure(); ++seed) {
    SCOPED_TRACE(seed);
    std::mt19937_64 random(seed);
    Pair pair(depth, seed, 30 + random() % 40, 30 + random() % 40, seed % 2 == 0 ? 0.5 : 0);
    std::vector<std::pair<GenerateRequest, std::shared_ptr<Collected>>> all;
    std::vector<std::pair<GenerateRequest, std::shared_ptr<Collected>>> at_prefill;  // answered there
    std::map<size_t, uint64_t> cancelled;                                            // index -> decode id
    for (int step = 0; all.size() < 20 || !pair.is_quiet(); ++step) {
      CHECK(step < 20000);
      if (seed % 4 < 2 && at_prefill.size() < 5 && random() % 10 == 0) {
        const auto request = request_of(make_prompt(&random, 30), 1 + random() % 60);
        at_prefill.emplace_back(request, std::make_shared<Collected>());
        pair.prefill.core->add(SequenceId{++pair.prefill.last_id}, request, at_prefill.back().second);
      }
      if (all.size() < 20 && random() % 3 == 0) {
        const auto request = request_of(make_prompt(&random, 60), 1 + random() % 30);
        all.emplace_back(request, pair.add(request));
      }
      if (!all.empty() && random() % 40 == 0) {
        const size_t at = random() % all.size();
        if (!all[at].second->is_over() && cancelled.emplace(at, at + 1).second)
          pair.decode.core->cancel(SequenceId{at + 1});
      }
      pair.step();
    }
    for (size_t i = 0; i < all.size(); ++i) {
      const auto expected = alone(all[i].first);
      const auto& tokens = all[i].second->tokens;
      if (cancelled.contains(i)) {
        EXPECT_TRUE(std::equal(tokens.begin(), tokens.end(), expected.begin()));
      } else {
        EXPECT_EQ(tokens, expected) << i;
      }
    }
    for (const auto& [request, sink] : at_prefill) EXPECT_EQ(sink->tokens, alone(request));
    EXPECT_EQ(pair.prefill.core->load().used_blocks, 0U);
    EXPECT_EQ(pair.decode.core->load().used_blocks, 0U);
    preempted.decode += pair.decode.preemptions() > 0;
    preempted.prefill += pair.prefill.preemptions() > 0;
  }
  return preempted;
}

TEST_P(Handoff, AnyOrderFailuresAndTightPoolsChangeNoAnswerAndLeaveNothingHeld) {
  const Preempted preempted = run_in_any_order(GetParam(), /*seeds=*/400, &family_prompt);
  EXPECT_GT(preempted.decode, 20U);
  EXPECT_GT(preempted.prefill, 20U);
}

// As if clients had chosen their tokens so that blocks collide.
TEST_P(Handoff, BlocksThatCollideChangeNoAnswerAndLeaveNothingHeld) {
  for (const int bits : {1, 3, 6}) {
    SCOPED_TRACE(bits);
    const kv::NarrowHashes narrow(bits);
    const Preempted preempted = run_in_any_order(GetParam(), /*seeds=*/200, &mixed_prompt);
    EXPECT_GT(preempted.decode, 10U);
    EXPECT_GT(preempted.prefill, 10U);
  }
}

// A hand-off may take as long as its request has time; what has nothing to do with it must not wait so long.
TEST_P(Handoff, APromptThatIsOnItsWayDelaysNoOtherOfWhichTheHashIsTheSame) {
  const kv::NarrowHashes narrow(1);
  const GenerateRequest slow = request_of({1, 2, 3, 4, 5}, 4);
  GenerateRequest other = request_of({1, 2, 3, 5, 5}, 4);
  const auto hash_of = [](const GenerateRequest& one) { return kv::hash_chain(one.prompt, kBlock); };
  while (hash_of(other) != hash_of(slow)) ++other.prompt.tokens.front();
  Pair pair(GetParam(), 1, 60, 60, /*trouble=*/0);
  const auto on_its_way = pair.add(slow);
  pair.decode.step();
  auto answered = std::make_shared<Collected>();
  pair.decode.core->add(SequenceId{++pair.decode.last_id}, other, answered);
  for (int i = 0; i < 10; ++i) pair.decode.step();
  EXPECT_FALSE(on_its_way->is_over());
  EXPECT_EQ(answered->tokens, alone(other));
  while (!pair.is_quiet()) pair.step();
  EXPECT_EQ(on_its_way->tokens, alone(slow));
}

INSTANTIATE_TEST_SUITE_P(StepsUnderWay, Handoff, testing::Values(1, 2, 3), testing::PrintToStringParamName());

}  // namespace
}  // namespace dynamo::engine
