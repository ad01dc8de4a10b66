#include "text/utf8.h"

#include <gtest/gtest.h>

namespace dynamo::text {
namespace {

std::string mended(std::string_view bytes) {
  std::string text;
  if (append_utf8(bytes, &text) > 0) text += kReplacement;
  return text;
}

TEST(Utf8, EveryCharacterReadsAsItWasWritten) {
  for (char32_t c = 0; c < 0x110000; ++c) {
    if (c >= 0xD800 && c < 0xE000) continue;
    std::string text;
    append_character(c, &text);
    ASSERT_EQ(valid_utf8_prefix(text), text.size());
    ASSERT_EQ(valid_character(text.data()).code_point, c);
    ASSERT_EQ(valid_character(text.data()).size, text.size());
    ASSERT_EQ(valid_character_before(text.data(), text.data() + text.size()).code_point, c);
  }
}

// `text` with the replacement character for each '?'.
std::string with_replacements(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '?') {
      out += kReplacement;
    } else {
      out += c;
    }
  }
  return out;
}

// The results are those of Python's bytes.decode("utf-8", errors="replace").
TEST(Utf8, ReplacesEachMaximalSubpartOnce) {
  EXPECT_EQ(mended("a\xF1\x80\x80\xE1\x80\xC2"
                   "b\x80"
                   "c\x80\xBF"
                   "d"),
            with_replacements("a???b?c??d"));                             // The Unicode Standard, table 3-8
  EXPECT_EQ(mended("\xC0\xAF\xE0\x80\xBF"), with_replacements("?????"));  // overlong
  EXPECT_EQ(mended("\xED\xA0\x80"), with_replacements("???"));            // a surrogate
  EXPECT_EQ(mended("\xF4\x91\x92\x93\xFF"), with_replacements("?????"));  // past U+10FFFF
  EXPECT_EQ(mended("\xF0\x9F\x98"), with_replacements("?"));              // unfinished
  EXPECT_EQ(mended("\xF0\x80\x80"), with_replacements("???"));
}

TEST(Utf8, SaysHowMuchIsUnfinished) {
  for (const auto& [bytes, unfinished] :
       {std::pair("ab", 0), {"a\xE4", 1}, {"a\xE4\xB8", 2}, {"a\xF0\x9F\x98", 3}, {"a\xE4\xFF", 0}, {"a\xF5", 0}}) {
    std::string text;
    EXPECT_EQ(append_utf8(bytes, &text), static_cast<size_t>(unfinished)) << bytes;
  }
}

}  // namespace
}  // namespace dynamo::text
