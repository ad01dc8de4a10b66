#include "text/pre_split.h"

#include <random>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "text/utf8.h"

namespace dynamo::text {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::vector<std::string> pieces_of(const PreSplit& split, std::string_view text) {
  PieceEnds ends;
  split.split(text, &ends);
  std::vector<std::string> pieces;
  size_t begin = 0;
  for (const size_t end : ends) {
    pieces.emplace_back(text.substr(begin, end - begin));
    begin = end;
  }
  return pieces;
}

std::vector<std::string> pieces_of(std::string_view pattern, std::string_view text, bool splits_digits = false,
                                   PreSplit::Engine engine = PreSplit::Engine::kFastest) {
  const std::string patterns[] = {std::string(pattern)};
  return pieces_of(PreSplit::create(patterns, splits_digits, engine).value(), text);
}

// Characters that all versions of Unicode since 14 agree on, those that patterns care about more often.
std::string random_text(std::mt19937* random) {
  static constexpr char32_t kDelicate[] = {' ',    ' ',   ' ',   '\n', '\r',   '\t',   '\'', '\'',    's',
                                           'T',    'l',   'L',   'r',  'e',    'V',    'd',  'M',     'x',
                                           '0',    '7',   '.',   '-',  0x17F,  0x85,   0xA0, 0x2028,  0x3000,
                                           0x200B, 0x301, 0x661, 0xBD, 0x2167, 0x4E2D, 0xE9, 0x1F600, 0x212A};
  static constexpr std::pair<char32_t, char32_t> kRanges[] = {
      {0, 0x7F},        {0xA0, 0x24F},    {0x370, 0x3FF},   {0x400, 0x4FF},   {0x620, 0x669},     {0x900, 0x97F},
      {0x2000, 0x206F}, {0x3040, 0x30FF}, {0x4E00, 0x9FFF}, {0xAC00, 0xD7A3}, {0x1D400, 0x1D7FF}, {0x1F300, 0x1F5FF}};
  std::string text;
  for (int i = static_cast<int>((*random)() % 30) + 1; i > 0; --i) {
    char32_t c = kDelicate[(*random)() % std::size(kDelicate)];
    if ((*random)() % 3 == 0) {
      const auto [low, high] = kRanges[(*random)() % std::size(kRanges)];
      c = low + (*random)() % (high - low + 1);
    }
    append_character(c, &text);
  }
  return text;
}

struct Known {
  std::string name;
  std::string_view pattern;
  bool splits_digits;
};

class Scanners : public ::testing::TestWithParam<Known> {};

TEST_P(Scanners, CutWherePcre2Does) {
  const std::string patterns[] = {std::string(GetParam().pattern)};
  const bool digits = GetParam().splits_digits;
  ASSERT_NE(scanner_of(GetParam().pattern, digits), nullptr);
  const PreSplit ours = PreSplit::create(patterns, digits).value();
  const PreSplit pcre2 = PreSplit::create(patterns, digits, PreSplit::Engine::kRegex).value();
  std::mt19937 random(7);
  for (int i = 0; i < 50'000; ++i) {
    const std::string text = random_text(&random);
    ASSERT_EQ(pieces_of(ours, text), pieces_of(pcre2, text)) << text;
  }
}

INSTANTIATE_TEST_SUITE_P(Families, Scanners,
                         ::testing::Values(Known{"Gpt2", kGpt2Pattern, false}, Known{"Smollm", kGpt2Pattern, true},
                                           Known{"Qwen2", kQwen2Pattern, false},
                                           Known{"Llama3", kLlama3Pattern, false}),
                         [](const auto& info) { return info.param.name; });

TEST(PreSplit, CutsAsTheFamiliesDo) {
  EXPECT_THAT(pieces_of(kGpt2Pattern, "I'll  be 42!\n\n x"),
              ElementsAre("I", "'ll", " ", " be", " 42", "!", "\n\n", " x"));
  EXPECT_THAT(pieces_of(kGpt2Pattern, "be 42  7", true), ElementsAre("be", " ", "4", "2", "  ", "7"));
  EXPECT_THAT(pieces_of(kQwen2Pattern, "I'LL go\t(x)\n \ny 42"),
              ElementsAre("I", "'LL", " go", "\t", "(x", ")\n", " \n", "y", " ", "4", "2"));
  EXPECT_THAT(pieces_of(kLlama3Pattern, "1234567 a"), ElementsAre("123", "456", "7", " a"));
}

TEST(PreSplit, WithoutPatternsLeavesTextWhole) {
  const PreSplit split = PreSplit::create({}, false).value();
  EXPECT_THAT(pieces_of(split, "a b"), ElementsAre("a b"));
  EXPECT_TRUE(pieces_of(split, "").empty());
  EXPECT_THAT(pieces_of(PreSplit::create({}, true).value(), "a12b"), ElementsAre("a", "1", "2", "b"));
}

TEST(PreSplit, KeepsWhatLiesBetweenMatchesAndCutsAtEmptyOnes) {
  EXPECT_THAT(pieces_of("b+", "abbac"), ElementsAre("a", "bb", "ac"));
  EXPECT_THAT(pieces_of("(?=b)", "abbé"), ElementsAre("a", "b", "bé"));
  EXPECT_THAT(pieces_of("\\s", "a\u180Eb\u2003c"), ElementsAre("a\u180Eb", "\u2003", "c"));
}

TEST(PreSplit, AppliesPatternsOneAfterAnother) {
  const std::string patterns[] = {"b+", "."};
  EXPECT_THAT(pieces_of(PreSplit::create(patterns, false).value(), "abb"), ElementsAre("a", "b", "b"));
}

TEST(PreSplit, LeavesTheRestWholeWhereAPatternRunsAway) {
  const std::string text = "b " + std::string(100'000, 'a') + "!";
  const auto pieces = pieces_of("b|(a+a+)+c", text);
  std::string joined;
  for (const std::string& piece : pieces) joined += piece;
  EXPECT_EQ(joined, text);
  EXPECT_EQ(pieces.front(), "b");
}

TEST(PreSplit, RefusesPatternsThatItWouldMisread) {
  const auto status = [](std::string pattern) { return PreSplit::create({&pattern, 1}, false).status(); };
  EXPECT_EQ(status("(a").code(), Code::kInvalid);
  EXPECT_THAT(status("(a").text(), HasSubstr("does not compile"));
  EXPECT_EQ(status("[a-z&&[^b]]").code(), Code::kUnsupported);
  EXPECT_EQ(status("[a[b]]").code(), Code::kUnsupported);
  EXPECT_EQ(status("\\h+").code(), Code::kUnsupported);
  EXPECT_EQ(status("a\\Kb").code(), Code::kUnsupported);
  EXPECT_EQ(status("(*ACCEPT)").code(), Code::kUnsupported);
  EXPECT_EQ(status("[[:alpha:").code(), Code::kInvalid);
  EXPECT_EQ(status(std::string(100'000, 'a')).code(), Code::kInvalid);
  EXPECT_TRUE(status("[[:alpha:]\\]\\[]+|[^\\s]").is_ok());
}

}  // namespace
}  // namespace dynamo::text
