#include "text/bpe.h"

#include <algorithm>
#include <random>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace dynamo::text {
namespace {

using ::testing::ElementsAre;

std::vector<TokenId> encode(const Bpe& bpe, const std::string& piece) {
  const size_t ends[] = {piece.size()};
  std::vector<TokenId> ids;
  bpe.encode(piece, ends, &ids);
  return ids;
}

// Byte pair encoding as it is defined: over and over, the best merge, the leftmost of equal ones.
std::vector<TokenId> encode_plainly(const TokenizerSpec& spec, const std::string& piece) {
  std::vector<std::string> parts;
  for (const char c : piece) parts.emplace_back(1, c);
  for (const auto& [left, right] : spec.merges) {
    for (size_t i = 0; i + 1 < parts.size(); ++i) {
      if (parts[i] != left || parts[i + 1] != right) continue;
      parts[i] += parts[i + 1];
      parts.erase(parts.begin() + static_cast<ptrdiff_t>(i) + 1);
    }
  }
  std::vector<TokenId> ids;
  for (const std::string& part : parts)
    ids.push_back(static_cast<TokenId>(std::find(spec.vocab.begin(), spec.vocab.end(), part) - spec.vocab.begin()));
  return ids;
}

// Merges of letters a to c into longer and longer tokens, as training would make them: parts come before wholes.
TokenizerSpec random_spec(std::mt19937* random) {
  TokenizerSpec spec;
  spec.vocab = {"a", "b", "c"};
  for (int i = 0; i < 40; ++i) {
    const std::string left = spec.vocab[(*random)() % spec.vocab.size()];
    const std::string right = spec.vocab[(*random)() % spec.vocab.size()];
    if (std::find(spec.vocab.begin(), spec.vocab.end(), left + right) != spec.vocab.end()) continue;
    spec.vocab.push_back(left + right);
    spec.merges.emplace_back(left, right);
  }
  return spec;
}

TEST(Bpe, EqualsTheDefinitionOnShortAndLongPieces) {
  std::mt19937 random(11);
  for (int round = 0; round < 100; ++round) {
    const TokenizerSpec spec = random_spec(&random);
    const Bpe bpe = Bpe::create(spec).value();
    for (int i = 0; i < 40; ++i) {
      std::string piece;
      for (size_t size = 1 + random() % (i % 4 == 0 ? 200 : 60); size > 0; --size) piece += "abc"[random() % 3];
      ASSERT_EQ(encode(bpe, piece), encode_plainly(spec, piece)) << piece;
    }
  }
}

TEST(Bpe, FindsPiecesWholeOnlyWhereMergesReachThem) {
  TokenizerSpec spec;
  spec.vocab = {"a", "b", "c", "ab", "bc", "abc"};
  spec.merges = {{"b", "c"}, {"ab", "c"}};
  EXPECT_THAT(encode(Bpe::create(spec).value(), "abc"), ElementsAre(0, 4));
  spec.ignores_merges = true;
  EXPECT_THAT(encode(Bpe::create(spec).value(), "abc"), ElementsAre(5));
}

TEST(Bpe, AddedTokensNeverComeOutOfMerges) {
  TokenizerSpec spec;
  spec.vocab = {"a", "b"};
  spec.added = {{.id = 2, .content = "ab"}};
  spec.ignores_merges = true;
  const Bpe bpe = Bpe::create(spec).value();
  EXPECT_THAT(encode(bpe, "ab"), ElementsAre(0, 1));
  EXPECT_EQ(bpe.bytes(2), "ab");
}

TEST(Bpe, TokensOutsideTheByteAlphabetAreTheirOwnText) {
  TokenizerSpec spec;
  spec.vocab = {"a", "x y", "中"};
  const Bpe bpe = Bpe::create(spec).value();
  EXPECT_EQ(bpe.bytes(1), "x y");
  EXPECT_EQ(bpe.find("中"), 2u);
  EXPECT_THAT(encode(bpe, "中"), ElementsAre());
}

TEST(Bpe, TokensThatDifferPastTheirFirstEightBytesAreTwo) {
  TokenizerSpec spec;
  spec.vocab = {"abcdefgh", "abcdefghi", "abcdefghj", "abcdefg"};
  spec.ignores_merges = true;
  const Bpe bpe = Bpe::create(spec).value();
  for (TokenId id = 0; id < 4; ++id) EXPECT_THAT(encode(bpe, spec.vocab[id]), ElementsAre(id));
}

}  // namespace
}  // namespace dynamo::text
