// The block pool under hashes that collide: what it gives was computed after exactly the tokens asked for.
#include "engine/block_pool.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <set>

#include "base/check.h"
#include "kv/testing/narrow_hashes.h"

namespace dynamo::engine {
namespace {

constexpr uint32_t kBlock = 2;
using Tokens = std::vector<TokenId>;

TEST(BlockPool, WhatFollowsABlockIsNotFoundAfterAnotherOfTheSameHash) {
  constexpr kv::BlockHash kFirst{1};  // of the well-known block, and of the attacker's
  constexpr kv::BlockHash kSecond{2};
  const Tokens known = {1, 2};
  const Tokens attackers = {3, 4};
  const Tokens next = {5, 6};
  const Tokens prompt = {1, 2, 5, 6};
  BlockPool pool(10, kBlock, /*events=*/nullptr);
  const BlockId first = pool.store(*pool.allocate(), kFirst, {std::nullopt, known});
  const BlockId other = pool.store(*pool.allocate(), kFirst, {std::nullopt, attackers});
  EXPECT_NE(first, other);
  const BlockId poison = pool.store(*pool.allocate(), kSecond, {other, next});
  EXPECT_EQ(pool.match({prompt}, std::vector{kFirst, kSecond}), std::vector{first});
  // The right one is stored all the same, and is found.
  const BlockId right = pool.store(*pool.allocate(), kSecond, {first, next});
  EXPECT_NE(right, poison);
  EXPECT_EQ(pool.match({prompt}, std::vector{kFirst, kSecond}), (std::vector{first, right}));
  pool.check_invariants();
}

TEST(BlockPool, ABlockIsNotExchangedForOneThatFollowsAnother) {
  const Tokens next = {5, 6};
  BlockPool pool(10, kBlock, /*events=*/nullptr);
  const BlockId a = pool.store(*pool.allocate(), {1}, {std::nullopt, Tokens{1, 2}});
  const BlockId b = pool.store(*pool.allocate(), {2}, {std::nullopt, Tokens{3, 4}});
  const BlockId after_a = pool.store(*pool.allocate(), {3}, {a, next});
  const BlockId mine = *pool.allocate();
  EXPECT_EQ(pool.store(mine, {3}, {b, next}), mine);
  EXPECT_EQ(pool.match({Tokens{3, 4, 5, 6}}, std::vector<kv::BlockHash>{{2}, {3}}), std::vector{b});
  EXPECT_EQ(pool.match({Tokens{1, 2, 5, 6}}, std::vector<kv::BlockHash>{{1}, {3}}), (std::vector{a, after_a}));
}

TEST(BlockPool, ASaltsBlocksAreNotFoundWithAnotherOfWhichTheHashIsTheSame) {
  const std::vector<kv::BlockHash> chain = {{1}};
  const Tokens tokens = {1, 2};
  const kv::PromptView salted(tokens, {}, {7, 8});
  std::vector<uint32_t> words;
  BlockPool pool(10, kBlock, /*events=*/nullptr);
  const BlockId first = pool.store(*pool.allocate(), {1}, {std::nullopt, kv::block_words(salted, kBlock, 0, &words)});
  EXPECT_TRUE(pool.match({tokens}, chain).empty());
  EXPECT_TRUE(pool.match({tokens, {}, {7, 0}}, chain).empty());
  EXPECT_TRUE(pool.match({tokens, {}, {7, 9}}, chain).empty());
  EXPECT_EQ(pool.match(salted, chain), std::vector{first});
}

TEST(BlockPool, ABlockIsNotFoundForOtherContentsInThePlaceOfItsTokensThoughTheHashIsTheSame) {
  const std::vector<kv::BlockHash> chain = {{1}, {2}};
  const kv::Prompt prompt{.tokens = {1, 2, 3, 4}, .spans = {{1, 3, {5, 6}}}, .salt = {}};
  std::vector<uint32_t> words;
  BlockPool pool(10, kBlock, /*events=*/nullptr);
  const BlockId first = pool.store(*pool.allocate(), {1}, {std::nullopt, kv::block_words(prompt, kBlock, 0, &words)});
  const BlockId second = pool.store(*pool.allocate(), {2}, {first, kv::block_words(prompt, kBlock, 1, &words)});
  EXPECT_EQ(pool.match(prompt, chain), (std::vector{first, second}));
  EXPECT_TRUE(pool.match({prompt.tokens}, chain).empty());
  for (const kv::PromptSpan other : {kv::PromptSpan{1, 3, {5, 7}}, {1, 3, {4, 6}}, {0, 3, {5, 6}}, {1, 4, {5, 6}}})
    EXPECT_TRUE(pool.match({prompt.tokens, {&other, 1}}, chain).empty());
  const kv::PromptSpan later{2, 3, {5, 6}};  // leaves the first block as it would be, but for the span
  EXPECT_TRUE(pool.match({prompt.tokens, {&later, 1}}, chain).empty());
}

// As where a hand-off holds a block, and the sequence's hold of the one before has moved to another of the same content.
TEST(BlockPool, ABlockIsForgottenWithTheOneThatItFollows) {
  BlockPool pool(3, kBlock, /*events=*/nullptr);
  const BlockId first = pool.store(*pool.allocate(), {1}, {std::nullopt, Tokens{1, 2}});
  const BlockId second = pool.store(*pool.allocate(), {2}, {first, Tokens{3, 4}});
  const BlockId third = pool.store(*pool.allocate(), {3}, {second, Tokens{5, 6}});
  pool.release(first);
  pool.release(third);
  EXPECT_EQ(pool.cached(), 2U);
  const BlockId taken = *pool.allocate();  // gives up the first, and all that follows
  pool.check_invariants();
  EXPECT_EQ(pool.cached(), 0U);
  EXPECT_EQ(pool.available(), 1U);
  EXPECT_EQ(pool.held(), 2U);
  // Its number holds another first block of the same hash now.
  EXPECT_EQ(taken, first);
  EXPECT_EQ(pool.store(taken, {1}, {std::nullopt, Tokens{9, 9}}), taken);
  EXPECT_EQ(pool.match({Tokens{9, 9, 3, 4}}, std::vector<kv::BlockHash>{{1}, {2}}), std::vector{taken});
  pool.check_invariants();
}

TEST(BlockPool, WhatIsDistrustedIsForgottenWithAllThatFollowsItAndNothingElse) {
  BlockPool pool(10, kBlock, /*events=*/nullptr);
  const Tokens tokens = {1, 2, 3, 4, 5, 6};
  const std::vector<kv::BlockHash> chain = {{1}, {2}, {3}};
  const BlockId first = pool.store(*pool.allocate(), {1}, {std::nullopt, Tokens{1, 2}});
  const BlockId second = pool.store(*pool.allocate(), {2}, {first, Tokens{3, 4}});
  const BlockId cached = pool.store(*pool.allocate(), {3}, {second, Tokens{5, 6}});
  const BlockId sibling = pool.store(*pool.allocate(), {4}, {first, Tokens{7, 8}});
  pool.release(cached);
  pool.distrust(std::vector{second});
  pool.check_invariants();
  EXPECT_EQ(pool.cached(), 0U);
  EXPECT_EQ(pool.match({tokens}, chain), std::vector{first});
  EXPECT_EQ(pool.match({Tokens{1, 2, 7, 8}}, std::vector<kv::BlockHash>{{1}, {4}}), (std::vector{first, sibling}));
  // What goes on from it is not known either; computed anew, all is.
  const BlockId after = *pool.allocate();
  EXPECT_EQ(pool.store(after, {3}, {second, Tokens{5, 6}}), after);
  EXPECT_EQ(pool.match({tokens}, chain), std::vector{first});
  const BlockId anew = pool.store(*pool.allocate(), {2}, {first, Tokens{3, 4}});
  EXPECT_EQ(pool.match({tokens}, chain), (std::vector{first, anew}));
  pool.check_invariants();
}

// The cache as the events tell it.
struct Told final : kv::KvEventSink {
  void on_kv_event(kv::KvEvent event) override {
    CHECK(event.tier == kv::Tier::kDevice);
    if (event.what == kv::KvEvent::What::kCleared) blocks.clear();
    for (const auto& hash : event.blocks) {
      const bool is_stored = event.what == kv::KvEvent::What::kStored;
      CHECK(is_stored ? blocks.insert(hash).second : blocks.erase(hash) == 1);
    }
  }
  std::set<kv::BlockHash> blocks;
};

// Sequences that are cached, computed and given up in any order, and holds of hand-offs beside theirs. The model knows of every
// block of the pool after which tokens it was computed; no sequence may get one that was computed after other tokens than its own.
class Players {
 public:
  Players(uint64_t seed, uint32_t blocks) : random_(seed), pool_(blocks, kBlock, &told_), computed_(blocks) {}

  void play() {
    const uint64_t what = random_() % 100;
    if (what < 30) {
      begin();
    } else if (what < 75 && !sequences_.empty()) {
      compute(&sequences_[random_() % sequences_.size()]);
    } else if (what < 80 && !sequences_.empty()) {
      const auto& blocks = sequences_[random_() % sequences_.size()].blocks;
      for (const BlockId block : blocks) pool_.hold(block);
      held_.push_back(blocks);
    } else if (what < 90 && !sequences_.empty()) {
      end(random_() % sequences_.size());
    } else if (what < 98 && !held_.empty()) {
      release(&held_, random_() % held_.size());
    } else if (what == 98 && !sequences_.empty()) {
      const Sequence& broken = sequences_[random_() % sequences_.size()];
      pool_.distrust(broken.blocks);
      std::vector<std::vector<BlockId>> found = {pool_.match(broken.prompt, broken.chain)};
      for (const BlockId block : found[0]) EXPECT_EQ(std::ranges::find(broken.blocks, block), broken.blocks.end());
      release(&found, 0);
    } else if (what == 99) {
      pool_.clear();
    }
    pool_.check_invariants();
    CHECK(told_.blocks.size() >= pool_.cached());
  }
  void finish() {
    while (!sequences_.empty()) end(0);
    while (!held_.empty()) release(&held_, 0);
    pool_.check_invariants();
    EXPECT_EQ(pool_.held(), 0U);
    EXPECT_EQ(told_.blocks.size(), pool_.cached());
  }
  uint64_t matched() const { return matched_; }
  uint64_t exchanged() const { return exchanged_; }

 private:
  struct Sequence {
    kv::Prompt prompt;
    std::vector<kv::BlockHash> chain;
    std::vector<BlockId> blocks;
    size_t computed = 0;  // blocks

    // All that the KV of a block depends on: what is in the prompt up to its end.
    kv::Prompt up_to(size_t block) const {
      kv::Prompt prefix = prompt;
      prefix.tokens.resize((block + 1) * kBlock);
      std::erase_if(prefix.spans, [&](const kv::PromptSpan& span) { return span.begin >= prefix.size(); });
      return prefix;
    }
  };

  kv::Fingerprint few_bits() { return {random_() % 2, random_() % 2}; }
  void begin() {
    Sequence one;
    if (random_() % 4 == 0) one.prompt.salt = few_bits();
    for (uint64_t block = 1 + random_() % 5; block > 0; --block)
      one.prompt.tokens.insert(one.prompt.tokens.end(), kBlock, static_cast<TokenId>(random_() % 3));
    const auto size = static_cast<uint32_t>(one.prompt.size());
    for (uint32_t at = 0; random_() % 4 == 0 && at < size;) {
      const uint32_t begin = at + static_cast<uint32_t>(random_() % (size - at));
      at = begin + 1 + static_cast<uint32_t>(random_() % std::min(3U, size - begin));
      one.prompt.spans.push_back({begin, at, few_bits()});
    }
    CHECK(kv::check(one.prompt).is_ok());
    one.chain = kv::hash_chain(one.prompt, kBlock);
    one.blocks = pool_.match(one.prompt, one.chain);
    one.computed = one.blocks.size();
    matched_ += one.computed;
    for (size_t i = 0; i < one.computed; ++i) ASSERT_EQ(computed_[one.blocks[i].value], one.up_to(i));
    while (one.blocks.size() < one.chain.size()) {
      const auto block = pool_.allocate();
      if (!block) break;
      one.blocks.push_back(*block);
    }
    sequences_.push_back(std::move(one));
  }
  void compute(Sequence* one) {
    if (one->computed == one->blocks.size()) return;
    const size_t i = one->computed++;
    std::vector<uint32_t> words;
    const BlockId before = one->blocks[i];
    computed_[before.value] = one->up_to(i);
    one->blocks[i] = pool_.store(before, one->chain[i],
                                 {.parent = i == 0 ? std::nullopt : std::optional(one->blocks[i - 1]),
                                  .words = kv::block_words(one->prompt, kBlock, i, &words)});
    exchanged_ += one->blocks[i] != before;
    ASSERT_EQ(computed_[one->blocks[i].value], one->up_to(i));
  }
  void end(size_t at) {
    std::vector<std::vector<BlockId>> blocks = {std::move(sequences_[at].blocks)};
    sequences_.erase(sequences_.begin() + static_cast<ptrdiff_t>(at));
    release(&blocks, 0);
  }
  void release(std::vector<std::vector<BlockId>>* from, size_t at) {
    for (auto block = (*from)[at].rbegin(); block != (*from)[at].rend(); ++block) pool_.release(*block);
    from->erase(from->begin() + static_cast<ptrdiff_t>(at));
  }

  std::mt19937_64 random_;
  Told told_;
  BlockPool pool_;
  std::vector<kv::Prompt> computed_;  // of each block of the pool: what its KV is of
  std::vector<Sequence> sequences_;
  std::vector<std::vector<BlockId>> held_;  // for hand-offs
  uint64_t matched_ = 0;
  uint64_t exchanged_ = 0;
};

TEST(BlockPool, NoSequenceGetsABlockThatWasComputedAfterOtherTokens) {
  uint64_t matched = 0;
  uint64_t exchanged = 0;
  for (const int bits : {1, 3, 6}) {
    const kv::NarrowHashes narrow(bits);
    for (uint64_t seed = 0; seed < 1000 && !testing::Test::HasFailure(); ++seed) {
      SCOPED_TRACE(testing::Message() << bits << " bits, seed " << seed);
      Players players(seed, 3 + seed % 40);
      for (int i = 0; i < 200 && !testing::Test::HasFailure(); ++i) players.play();
      players.finish();
      matched += players.matched();
      exchanged += players.exchanged();
    }
  }
  EXPECT_GT(matched, 1000U);
  EXPECT_GT(exchanged, 1000U);
}

}  // namespace
}  // namespace dynamo::engine
