#include "text/detokenizer.h"

#include <memory>
#include <random>
#include <vector>

#include <gtest/gtest.h>

#include "text/byte_alphabet.h"
#include "text/utf8.h"

namespace dynamo::text {
namespace {

// Every byte a token, tokens that end inside characters, and a special one (the last).
std::unique_ptr<Tokenizer> byte_tokenizer() {
  TokenizerSpec spec;
  for (int byte = 0; byte < 256; ++byte) spec.vocab.emplace_back(alphabet_character(static_cast<unsigned char>(byte)));
  for (const char* bytes :
       {"a\xF0\x9F", "\x98\x80z", "\xE4\xB8", "\xAD\xE4", "\xB8\xAD", "\xC3\xA9\xC3", "\xED\xA0", "\xF4\x90"})
    spec.vocab.push_back(to_alphabet(bytes));
  spec.added = {{.id = static_cast<TokenId>(spec.vocab.size()), .content = "<end>", .is_special = true}};
  return Tokenizer::create(std::move(spec)).value();
}

TEST(Detokenizer, HoldsAnUnfinishedCharacter) {
  const auto tokenizer = byte_tokenizer();
  Detokenizer detokenizer(tokenizer.get(), /*skip_special=*/true);
  EXPECT_EQ(detokenizer.push(256), "a");    // a F0 9F
  EXPECT_EQ(detokenizer.push(257), "😀z");  // 98 80 z
  EXPECT_EQ(detokenizer.push(258), "");     // E4 B8
  EXPECT_EQ(detokenizer.push(264), "");     // <end>
  EXPECT_EQ(detokenizer.push(259), "中");   // AD E4
  EXPECT_EQ(detokenizer.finish(), "\uFFFD");
  EXPECT_EQ(detokenizer.finish(), "");
}

TEST(Detokenizer, PiecesAreValidAndJoinToTheWhole) {
  const auto tokenizer = byte_tokenizer();
  std::mt19937 random(5);
  for (int round = 0; round < 20'000; ++round) {
    const bool skip_special = round % 2 == 0;
    Detokenizer detokenizer(tokenizer.get(), skip_special);
    std::vector<TokenId> ids;
    std::string joined;
    for (size_t count = random() % 12; count > 0; --count) {
      // Mostly bytes that begin or go on with characters.
      const TokenId id = random() % 3 == 0 ? 256 + random() % 10 : 0x80 + random() % 0x80;
      ids.push_back(id);
      const std::string piece = detokenizer.push(id);
      ASSERT_EQ(valid_utf8_prefix(piece), piece.size());
      joined += piece;
    }
    joined += detokenizer.finish();
    ASSERT_EQ(joined, tokenizer->decode(ids, skip_special));
  }
}

}  // namespace
}  // namespace dynamo::text
