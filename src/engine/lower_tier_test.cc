// An engine with a tier below its device: what left the device comes back, and admission waits for it.
#include <gtest/gtest.h>

#include <map>
#include <random>
#include <set>

#include "base/testing/fake_clock.h"
#include "engine/engine_core.h"
#include "engine/testing/checking_runner.h"
#include "engine/testing/host_tier.h"
#include "kv/testing/narrow_hashes.h"

namespace dynamo::engine {
namespace {

constexpr uint32_t kVocab = 50;
constexpr uint32_t kBlock = 4;
constexpr size_t kBlockBytes = kBlock * CheckingRunner::kTokenBytes;
using Tokens = std::vector<TokenId>;

struct Collected final : ChunkSink {
  void on_chunk(TokenChunk chunk) override {
    CHECK(!is_over);
    tokens.insert(tokens.end(), chunk.tokens.begin(), chunk.tokens.end());
    is_over = chunk.finish.has_value();
  }
  void on_failure(Status status) override { failure = std::move(status); }
  void on_sign_of_life() override {}
  Tokens tokens;
  bool is_over = false;
  Status failure;
};

// What each tier holds, as the events tell it.
struct Told final : kv::KvEventSink {
  void on_kv_event(kv::KvEvent event) override {
    if (event.what == kv::KvEvent::What::kCleared) held[event.tier].clear();
    for (const kv::BlockHash block : event.blocks) {
      const bool is_stored = event.what == kv::KvEvent::What::kStored;
      CHECK(is_stored ? held[event.tier].insert(block).second : held[event.tier].erase(block) == 1);
    }
  }
  kv::PerTier<std::set<kv::BlockHash>> held;
};

struct World {
  World(uint32_t depth, uint32_t device_blocks, uint32_t host_blocks, uint32_t batch_tokens = 64)
      : bytes(device_blocks * kBlockBytes), host(host_blocks, kBlock, bytes, kBlockBytes, &told) {
    options = {.block_tokens = kBlock,
               .kv_blocks = device_blocks,
               .context_length = 200,
               .vocab_size = kVocab,
               .max_batch_tokens = batch_tokens,
               .max_sequences = 8,
               .max_waiting = 1000};
    auto checking = std::make_unique<CheckingRunner>(kVocab, std::as_writable_bytes(std::span(bytes)), depth);
    runner = checking.get();
    core = std::make_unique<EngineCore>(options, std::move(checking), &clock, &told, &metrics, MetricLabels{});
  }
  std::shared_ptr<Collected> add(const Tokens& prompt, uint32_t max_tokens) {
    GenerateRequest request;
    request.prompt.tokens = prompt;
    request.stop.max_tokens = max_tokens;
    CHECK(EngineCore::check(options, request).is_ok());
    auto sink = std::make_shared<Collected>();
    const Handoff handoff = host.handoff_of(request.prompt, core.get());
    core->add(SequenceId{++last_id}, std::move(request), sink, handoff);
    return sink;
  }
  // Returns: whether there was something to compute.
  bool step() {
    const bool has_run = core->has_work() && core->step();
    core->pool().check_invariants();
    host.directory.check_invariants();
    return has_run;
  }
  void run() {
    while (core->has_work() || host.is_copying()) {
      CHECK(step() || host.is_copying() || !core->has_work());
      host.copy_one(&random);
    }
  }
  // Of a prompt's blocks, how many that the tier holds.
  size_t held(kv::Tier tier, const Tokens& prompt) const {
    return static_cast<size_t>(std::ranges::count_if(
        kv::hash_chain({prompt}, kBlock), [&](kv::BlockHash block) { return told.held[tier].contains(block); }));
  }

  std::mt19937_64 random{1};
  FakeClock clock;
  std::vector<char> bytes;
  Told told;
  HostTier host;
  Metrics metrics;
  EngineOptions options;
  CheckingRunner* runner = nullptr;
  std::unique_ptr<EngineCore> core;
  uint64_t last_id = 0;
};

Tokens prompt_of(uint32_t tokens, TokenId first) {
  Tokens prompt(tokens);
  for (uint32_t i = 0; i < tokens; ++i) prompt[i] = (first + i * 7) % kVocab;
  return prompt;
}

class LowerTier : public testing::TestWithParam<uint32_t> {};

TEST_P(LowerTier, WhatLeftTheDeviceComesBackAndTheSequenceWaitsForItWhileOthersGoOn) {
  World world(GetParam(), /*device_blocks=*/8, /*host_blocks=*/32);
  const Tokens prompt = prompt_of(18, 0);
  const auto first = world.add(prompt, 2);
  world.run();
  ASSERT_TRUE(first->is_over);
  world.add(prompt_of(28, 5), 2);  // takes the whole device
  world.run();
  EXPECT_EQ(world.held(kv::Tier::kDevice, prompt), 0U);
  EXPECT_EQ(world.held(kv::Tier::kHost, prompt), 4U);

  const auto again = world.add(prompt, 2);
  const auto other = world.add(prompt_of(5, 9), 2);
  for (int i = 0; i < 20; ++i) world.step();
  EXPECT_TRUE(other->is_over);
  EXPECT_TRUE(again->tokens.empty()) << "nothing was copied yet";
  const size_t rows = world.runner->rows;
  const size_t brought = world.host.brought;
  world.run();
  EXPECT_EQ(again->tokens, first->tokens);
  EXPECT_EQ(world.host.brought - brought, 4U);
  EXPECT_LE(world.runner->rows - rows, 2U + 2U) << "the rest of the prompt, and the answer";
}

TEST_P(LowerTier, WhoIsCancelledMeanwhileGivesBackAllThatWasHeldForTheCopies) {
  World world(GetParam(), 8, 32);
  const Tokens prompt = prompt_of(18, 0);
  world.add(prompt, 2);
  world.run();
  world.core->clear_cache();
  const auto again = world.add(prompt, 2);
  for (int i = 0; i < 3; ++i) world.step();
  EXPECT_GT(world.host.directory.held(), 0U);
  world.core->cancel(SequenceId{world.last_id});
  world.step();
  EXPECT_GT(world.core->pool().held(), 0U) << "copies may go on";
  world.run();
  EXPECT_TRUE(again->tokens.empty());
  EXPECT_EQ(world.core->pool().held(), 0U);
  EXPECT_EQ(world.host.directory.held(), 0U);
}

TEST_P(LowerTier, WhatTheDeviceHasIsNotWaitedFor) {
  World world(GetParam(), 16, 32);
  const Tokens prompt = prompt_of(18, 0);
  const auto first = world.add(prompt, 2);
  world.run();
  const auto again = world.add(prompt, 2);
  while (world.core->has_work()) ASSERT_TRUE(world.step());
  EXPECT_EQ(again->tokens, first->tokens);
  EXPECT_EQ(world.host.brought, 0U);
}

// Prompts that begin alike, a device and a host too small for all of them, copies in any order and as late as can be,
// hashes that collide: every answer is what it is alone, and at the end nobody holds anything.
TEST_P(LowerTier, AnswersAreTheSameWhateverComesFromBelow) {
  std::map<std::pair<Tokens, uint32_t>, Tokens> alone;
  const auto answer_of = [&](const Tokens& prompt, uint32_t max_tokens) -> const Tokens& {
    Tokens& answer = alone[{prompt, max_tokens}];
    if (answer.empty()) {
      World world(1, 100, 1);
      const auto sink = world.add(prompt, max_tokens);
      world.run();
      answer = sink->tokens;
    }
    return answer;
  };
  size_t brought = 0;
  size_t again = 0;
  for (uint64_t seed = 0; seed < 300 && !HasFailure(); ++seed) {
    SCOPED_TRACE(seed);
    std::optional<kv::NarrowHashes> narrow;
    if (seed % 3 == 0) narrow.emplace(5);
    World world(GetParam(), 12 + seed % 10, 4 + seed % 30, 1 + seed % 20);
    world.random.seed(seed);
    world.host.end = [&](SequenceId id, uint32_t attempt) {
      const uint64_t how = world.random() % 10;
      if (how == 0) return world.core->fetch_again(id, attempt);
      world.core->prefill_here(id, attempt, /*keeps_received=*/how > 1);
      again += how <= 1;
    };
    struct Asked {
      Tokens prompt;
      uint32_t max_tokens;
      std::shared_ptr<Collected> sink;
      uint64_t id;
      bool is_cancelled = false;
    };
    std::vector<Asked> all;
    for (int i = 0; i < 200; ++i) {
      if (all.size() < 40 && world.random() % 4 == 0) {
        Tokens prompt = prompt_of(1 + world.random() % 40, static_cast<TokenId>(world.random() % 4));
        if (world.random() % 3 == 0) prompt.back() = 49;
        const uint32_t max_tokens = 1 + world.random() % 6;
        auto sink = world.add(prompt, max_tokens);
        all.push_back({std::move(prompt), max_tokens, std::move(sink), world.last_id});
      }
      if (!all.empty() && world.random() % 40 == 0) {
        Asked& one = all[world.random() % all.size()];
        one.is_cancelled = true;
        world.core->cancel(SequenceId{one.id});
      }
      if (world.random() % 60 == 0) world.core->clear_cache();
      if (world.random() % 60 == 0) world.host.directory.clear();
      world.step();
      for (uint64_t copies = world.random() % 4; copies > 0; --copies) world.host.copy_one(&world.random);
    }
    world.run();
    narrow.reset();
    for (const Asked& one : all) {
      ASSERT_TRUE(one.sink->failure.is_ok());
      if (one.is_cancelled) continue;
      ASSERT_EQ(one.sink->tokens, answer_of(one.prompt, one.max_tokens));
    }
    EXPECT_EQ(world.core->pool().held(), 0U);
    EXPECT_EQ(world.host.directory.held(), 0U);
    EXPECT_EQ(world.told.held[kv::Tier::kDevice].size(), world.core->pool().cached());
    EXPECT_EQ(world.told.held[kv::Tier::kHost].size(), world.host.directory.cached());
    brought += world.host.brought;
  }
  EXPECT_GT(brought, 1000U);
  EXPECT_GT(again, 10U);
}

INSTANTIATE_TEST_SUITE_P(Depth, LowerTier, testing::Values(1U, 2U, 3U));

}  // namespace
}  // namespace dynamo::engine
