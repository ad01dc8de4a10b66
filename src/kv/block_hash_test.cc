#include "kv/block_hash.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>
#include <unordered_set>

#include "kv/testing/narrow_hashes.h"

namespace dynamo::kv {
namespace {

const std::vector<TokenId> kTokens = {1, 2, 3, 4, 5, 6, 7, 8, 9};  // two blocks of four and one token

TEST(HashChain, MatchesTheVectorsOfTheSpec) {
  EXPECT_EQ(hash_chain(std::span(kTokens).subspan(4, 4), /*block_tokens=*/4).at(0).bits, 16777012769546811212u);
  EXPECT_EQ(hash_chain({kTokens}, /*block_tokens=*/4),
            (std::vector<BlockHash>{{14643705804678351452u}, {4945711292740353085u}}));
}

TEST(HashChain, ASaltChangesEveryBlockOfThePrompt) {
  const auto plain = hash_chain({kTokens}, 4);
  const auto salted = hash_chain({kTokens, {}, {7, 0}}, 4);
  EXPECT_NE(plain[0], salted[0]);
  EXPECT_NE(plain[1], salted[1]);
}

TEST(HashChain, TheWordsOfABlockAreItsTokensAndWhatElseItsKvDependsOn) {
  const std::vector<PromptSpan> spans = {{1, 2, {3, 0x500000004}}, {2, 6, {6, 7}}, {7, 8, {8, 9}}};
  std::vector<uint32_t> scratch;
  const auto words = [&](const PromptView& prompt, size_t block) {
    const auto found = block_words(prompt, 4, block, &scratch);
    return std::vector<uint32_t>(found.begin(), found.end());
  };
  EXPECT_EQ(block_words({kTokens}, 4, 1, &scratch).data(), kTokens.data() + 4) << "nothing is copied";
  EXPECT_EQ(words({kTokens, {}, {10, 11}}, 0), (std::vector<uint32_t>{1, 2, 3, 4, 10, 0, 11, 0}));
  EXPECT_EQ(words({kTokens, {}, {10, 11}}, 1), (std::vector<uint32_t>{5, 6, 7, 8}));
  EXPECT_EQ(words({kTokens, spans, {10, 11}}, 0), (std::vector<uint32_t>{1, 2, 3, 4, 10, 0, 11, 0,  //
                                                                         1, 2, 3, 0, 4,  5,         //
                                                                         2, 6, 6, 0, 7,  0}));
  EXPECT_EQ(words({kTokens, spans}, 1), (std::vector<uint32_t>{5, 6, 7, 8,        //
                                                               2, 6, 6, 0, 7, 0,  //
                                                               7, 8, 8, 0, 9, 0}));
}

TEST(HashChain, WhatStandsInThePlaceOfTokensChangesTheBlocksFromThereOn) {
  const std::vector<PromptSpan> spans = {{5, 6, {1, 2}}};
  const std::vector<PromptSpan> others = {{5, 6, {1, 3}}};
  const auto plain = hash_chain({kTokens}, 4);
  const auto with = hash_chain({kTokens, spans}, 4);
  EXPECT_EQ(with[0], plain[0]);
  EXPECT_EQ(with[1].bits, 6952829080219902179u);
  EXPECT_NE(with[1], hash_chain({kTokens, others}, 4)[1]);
}

TEST(HashChain, ASaltHasTheBitsThatTheSpecSays) {
  EXPECT_EQ(salt_of("tenant"), (Fingerprint{16947247479202560878u, 9190494613925918535u}));
  EXPECT_EQ(hash_chain({kTokens, {}, salt_of("tenant")}, 4),
            (std::vector<BlockHash>{{7441586421323591013u}, {14101331969919118957u}}));
}

TEST(Prompt, SpansAreInOrderNotEmptyAndWithinTheTokens) {
  const auto with = [](std::vector<PromptSpan> spans) { return check({kTokens, std::move(spans), {}}); };
  EXPECT_TRUE(with({{0, 2, {}}, {2, 9, {}}}).is_ok());
  for (const auto& wrong : std::vector<std::vector<PromptSpan>>{
           {{3, 3, {}}}, {{4, 3, {}}}, {{8, 10, {}}}, {{0, 3, {}}, {2, 4, {}}}, {{4, 5, {}}, {1, 2, {}}}})
    EXPECT_EQ(with(wrong).code(), Code::kInvalid);
  EXPECT_THAT(with({{8, 10, {}}}).text(), testing::HasSubstr("[8, 10)"));
  EXPECT_EQ(check({}).code(), Code::kInvalid);
}

TEST(HashChain, APartialBlockHasNoHash) {
  EXPECT_TRUE(hash_chain({kTokens}, 10).empty());
}

// As somebody would choose them who knows how the standard library maps a hash to a bucket.
TEST(HashTables, HashesThatAreEqualModuloTheTablesSizeDoNotFallOnOnePlace) {
  std::unordered_set<BlockHash> table;
  table.reserve(20'000);
  const size_t buckets = table.bucket_count();
  for (uint64_t i = 1; i <= 20'000; ++i) table.insert({i * buckets});
  ASSERT_EQ(table.bucket_count(), buckets);
  size_t fullest = 0;
  for (size_t i = 0; i < buckets; ++i) fullest = std::max(fullest, table.bucket_size(i));
  EXPECT_LT(fullest, 100U);
}

TEST(NarrowHashes, AreNarrowWhileTheyLiveAndCollide) {
  {
    const NarrowHashes narrow(3);
    std::set<uint64_t> seen;
    for (TokenId token = 0; token < 100; ++token)
      for (const BlockHash block : hash_chain({std::vector<TokenId>(8, token), {}, {token % 3, 0}}, 4))
        seen.insert(block.bits);
    EXPECT_EQ(seen.size(), 8U);
    EXPECT_LT(*seen.rbegin(), 8U);
  }
  EXPECT_EQ(hash_chain(std::span(kTokens).subspan(4, 4), 4).at(0).bits, 16777012769546811212u);
}

}  // namespace
}  // namespace dynamo::kv
