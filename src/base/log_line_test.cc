#include "base/log_line.h"

#include <gtest/gtest.h>

namespace dynamo::log {
namespace {

std::string text_of(std::string_view text, std::string_view value) {
  const std::string line = text_line("T", Level::info, text, {{"v", value}});
  constexpr std::string_view kBegin = "T [INFO] ";
  EXPECT_TRUE(line.starts_with(kBegin) && line.ends_with('\n')) << line;
  return line.substr(kBegin.size(), line.size() - kBegin.size() - 1);
}

TEST(LogLine, TextHoldsLevelMessageAndFields) {
  EXPECT_EQ(text_line("T", Level::warn, "instance lost", {{"id", 7}, {"why", "no \"ping\"\nat all"}}),
            "T [WARN] instance lost id=7 why=\"no \\\"ping\\\"\\nat all\"\n");
  EXPECT_EQ(text_of("m", ""), "m v=\"\"");
  EXPECT_EQ(text_of("m", R"(a\b)"), R"(m v=a\b)");
  EXPECT_EQ(text_of("m", R"(a \ b)"), R"(m v="a \\ b")");
}

TEST(LogLine, NoValueOrMessageEndsALineOrCommandsATerminal) {
  EXPECT_EQ(text_of("a\x1b[2Jb\r\nc", "x"), R"(a\x1b[2Jb\r\nc v=x)");
  EXPECT_EQ(text_of("m", "\x1b]0;title\x07"), R"(m v="\x1b]0;title\x07")");
  EXPECT_EQ(text_of("m", "one\rtwo\tthree\x7f"), R"(m v="one\rtwo\tthree\x7f")");
  EXPECT_EQ(text_of("m", std::string_view("\0", 1)), R"(m v="\x00")");
  EXPECT_EQ(text_of("m",
                    "\xc2\x9b"
                    "2J"),
            R"(m v="\xc2\x9b2J")");  // CSI as one character, U+009B
}

TEST(LogLine, CharactersOfUtf8StayReadableAndOtherBytesDoNot) {
  EXPECT_EQ(text_of("größe", "日本語🙂é\xc2\xa0"), "größe v=日本語🙂é\xc2\xa0");
  EXPECT_EQ(text_of("m", "\xff"), R"(m v="\xff")");
  EXPECT_EQ(text_of("m", "\xc0\x8a"), R"(m v="\xc0\x8a")");                  // a line's end, overlong
  EXPECT_EQ(text_of("m", "\xe0\x80\x8a"), R"(m v="\xe0\x80\x8a")");          // the same in three bytes
  EXPECT_EQ(text_of("m", "\xed\xa0\x80"), R"(m v="\xed\xa0\x80")");          // a surrogate
  EXPECT_EQ(text_of("m", "\xf4\x90\x80\x80"), R"(m v="\xf4\x90\x80\x80")");  // above U+10FFFF
  EXPECT_EQ(text_of("m", "a\xe6\x97"), R"(m v="a\xe6\x97")");                // cut off
}

TEST(LogLine, JsonIsValidWhateverTheValueHolds) {
  EXPECT_EQ(
      json_line("T", Level::warn, "a \"b\"", {{"why", "line\nbreak"}, {"n", 3}}),
      "{\"time\":\"T\",\"level\":\"warn\",\"message\":\"a \\\"b\\\"\",\"why\":\"line\\u000abreak\",\"n\":\"3\"}\n");
  EXPECT_EQ(json_line("T", Level::error, "é", {{"k", "\x1b\x7f\xff\xc2\x9b\\"}}),
            "{\"time\":\"T\",\"level\":\"error\",\"message\":\"é\",\"k\":\"\\u001b\\u007f\\ufffd\\u009b\\\\\"}\n");
}

}  // namespace
}  // namespace dynamo::log
