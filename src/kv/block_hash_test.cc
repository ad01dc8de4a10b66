#include "kv/block_hash.h"

#include <gtest/gtest.h>

#include <set>
#include <unordered_set>

#include "kv/testing/narrow_hashes.h"

namespace dynamo::kv {
namespace {

const std::vector<TokenId> kTokens = {1, 2, 3, 4, 5, 6, 7, 8, 9};  // two blocks of four and one token

TEST(HashChain, MatchesTheVectorsOfTheSpec) {
  EXPECT_EQ(hash_tokens(std::span(kTokens).subspan(4, 4)).bits, 16777012769546811212u);
  EXPECT_EQ(hash_chain(kTokens, /*block_tokens=*/4, /*salt=*/0),
            (std::vector<BlockHash>{{14643705804678351452u}, {4945711292740353085u}}));
}

TEST(HashChain, ASaltChangesEveryBlockOfThePrompt) {
  const auto plain = hash_chain(kTokens, 4, 0);
  const auto salted = hash_chain(kTokens, 4, 7);
  EXPECT_NE(plain[0], salted[0]);
  EXPECT_NE(plain[1], salted[1]);
}

TEST(HashChain, APartialBlockHasNoHash) {
  EXPECT_TRUE(hash_chain(kTokens, 10, 0).empty());
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
      for (const BlockHash block : hash_chain(std::vector<TokenId>(8, token), 4, token % 3)) seen.insert(block.bits);
    EXPECT_EQ(seen.size(), 8U);
    EXPECT_LT(*seen.rbegin(), 8U);
  }
  EXPECT_EQ(hash_tokens(std::span(kTokens).subspan(4, 4)).bits, 16777012769546811212u);
}

}  // namespace
}  // namespace dynamo::kv
