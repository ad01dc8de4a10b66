#include "text/stop_strings.h"

#include <algorithm>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace dynamo::text {
namespace {

TEST(StopStrings, WithNonePassesEverythingThrough) {
  StopStrings stops({});
  EXPECT_EQ(stops.push("abc"), "abc");
  EXPECT_EQ(stops.finish(), "");
  EXPECT_FALSE(stops.has_stopped());
}

TEST(StopStrings, HoldsBackWhatMayBecomeOne) {
  StopStrings stops({"</s>", "\n\n"});
  EXPECT_EQ(stops.push("hello <"), "hello ");
  EXPECT_EQ(stops.push("/"), "");
  EXPECT_EQ(stops.push("x\n"), "</x");
  EXPECT_EQ(stops.push("\nmore"), "");
  EXPECT_TRUE(stops.has_stopped());
  EXPECT_EQ(stops.matched(), "\n\n");
  EXPECT_EQ(stops.push("later"), "");
  EXPECT_EQ(stops.finish(), "");
}

TEST(StopStrings, GivesBackWhatWasHeldWhenTheTextEnds) {
  StopStrings stops({"stop"});
  EXPECT_EQ(stops.push("a sto"), "a ");
  EXPECT_EQ(stops.finish(), "sto");
  EXPECT_FALSE(stops.has_stopped());
  EXPECT_EQ(stops.matched(), "");
}

TEST(StopStrings, OfTwoThatEndTogetherTheLongerIsFound) {
  StopStrings stops({"b", "ab", "xab"});
  EXPECT_EQ(stops.push("0xab"), "0");
  EXPECT_EQ(stops.matched(), "xab");
}

TEST(StopStrings, TheOneThatEndsFirstIsFound) {
  StopStrings stops({"abcd", "bc"});
  EXPECT_EQ(stops.push("zabcd"), "za");
  EXPECT_EQ(stops.matched(), "bc");
}

TEST(StopStrings, FindsOneThatOverlapsItself) {
  StopStrings stops({"aab"});
  EXPECT_EQ(stops.push("aa"), "");
  EXPECT_EQ(stops.push("a"), "a");
  EXPECT_EQ(stops.push("b!"), "");
  EXPECT_EQ(stops.matched(), "aab");
}

TEST(StopStrings, OneThatBeginsWhereTheTextMustGoOnAndEndsLaterIsFound) {
  StopStrings stops({"END", "x"});
  EXPECT_EQ(stops.push("ax END E", /*can_stop=*/false), "ax END ");
  EXPECT_EQ(stops.push("N", false), "");
  EXPECT_EQ(stops.push("D.", true), "");
  EXPECT_EQ(stops.matched(), "END");
}

TEST(StopStrings, OneThatDoesNotCountMayBeginAnother) {
  StopStrings stops({"aa"});
  EXPECT_EQ(stops.push("baa", false), "ba");  // its second half
  EXPECT_EQ(stops.push("a", true), "");
  EXPECT_EQ(stops.matched(), "aa");
}

struct Expected {
  std::string shown;
  std::string matched;
  bool has_stopped = false;
};

// The definition: the shortest prefix of the text, longer than `least`, that ends with a stop string.
Expected search(const std::vector<std::string>& stops, const std::string& text, size_t least) {
  for (size_t end = least + 1; end <= text.size(); ++end) {
    std::string longest;
    for (const std::string& stop : stops)
      if (text.substr(0, end).ends_with(stop) && stop.size() > longest.size()) longest = stop;
    if (!longest.empty()) return {text.substr(0, end - longest.size()), longest, true};
  }
  return {text, "", false};
}

TEST(StopStrings, EqualTheDefinitionForAnySplit) {
  std::mt19937 random(3);
  const auto letters = [&](size_t size) {
    std::string text;
    while (size-- > 0) text += "aab"[random() % 3];
    return text;
  };
  for (int round = 0; round < 50'000; ++round) {
    std::vector<std::string> stops(random() % 4);
    for (std::string& stop : stops) stop = letters(2 + random() % 5);
    const std::string text = letters(random() % 20);
    const size_t least = round % 2 == 0 ? 0 : random() % 10;  // of bytes that must come
    const Expected expected = search(stops, text, least);
    StopStrings searched(stops);
    std::string shown;
    for (size_t at = 0; at < text.size();) {
      size_t size = std::min<size_t>(random() % 5, text.size() - at);
      if (at < least) size = std::min(size, least - at);
      shown += searched.push(text.substr(at, size), at >= least);
      at += size;
      // What could still begin a stop string is all that is held back.
      const std::string so_far = text.substr(0, at);
      size_t held = 0;
      for (const std::string& stop : stops)
        for (size_t k = 1; k < stop.size(); ++k)
          if (so_far.ends_with(stop.substr(0, k))) held = std::max(held, k);
      if (!searched.has_stopped()) {
        ASSERT_EQ(shown.size() + held, at);
      }
    }
    shown += searched.finish();
    ASSERT_EQ(shown, expected.shown) << text;
    ASSERT_EQ(searched.matched(), expected.matched) << text;
    ASSERT_EQ(searched.has_stopped(), expected.has_stopped) << text;
  }
}

TEST(StopStrings, LongStopsCostNoMoreThanOneLookAtEachByte) {
  std::vector<std::string> one(1, std::string(100'000, 'a'));
  one[0] += 'b';
  StopStrings stops(one);
  size_t shown = 0;
  for (int i = 0; i < 300'000; ++i) shown += stops.push("a").size();
  EXPECT_EQ(shown, 200'000u);
}

}  // namespace
}  // namespace dynamo::text
