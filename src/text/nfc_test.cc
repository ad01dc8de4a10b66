#include "text/nfc.h"

#include <gtest/gtest.h>

namespace dynamo::text {
namespace {

std::string nfc(std::string_view text) {
  return to_nfc(text).value_or(std::string(text));
}

TEST(Nfc, LeavesNormalTextAlone) {
  EXPECT_EQ(to_nfc(""), std::nullopt);
  EXPECT_EQ(to_nfc("plain text, naïve, 中文, 한국어, 😀"), std::nullopt);
}

TEST(Nfc, ComposesAndOrdersMarks) {
  EXPECT_EQ(nfc("e\u0301"), "é");
  EXPECT_EQ(nfc("xe\u0301y"), "xéy");
  EXPECT_EQ(nfc("a\u0301\u0323"), "\u1EA1\u0301");  // the dot below comes first
  EXPECT_EQ(nfc("\u1E9B\u0323"), "\u1E9B\u0323");   // UAX 15, figure 6
  EXPECT_EQ(nfc("\u1E0B\u0323"), "\u1E0D\u0307");   // UAX 15, table 2
  EXPECT_EQ(nfc("q\u0307\u0323"), "q\u0323\u0307");
  EXPECT_EQ(nfc("o\u0308\u0304"), "\u022B");  // twice composed
  EXPECT_EQ(nfc("a\u0328\u0301b\u0301"), "ą\u0301b\u0301");
}

TEST(Nfc, ReplacesSingletonsAndExcludedCompositions) {
  EXPECT_EQ(nfc("\u212B\u2126\u212A"), "ÅΩK");
  EXPECT_EQ(nfc("\u0958"), "\u0915\u093C");
  EXPECT_EQ(nfc("\u0344"), "\u0308\u0301");
  EXPECT_EQ(nfc("\uF900"), "\u8C48");
  EXPECT_EQ(nfc("\U0002F800"), "\u4E3D");
}

TEST(Nfc, ComposesHangul) {
  EXPECT_EQ(nfc("\u1112\u1161\u11AB"), "한");
  EXPECT_EQ(nfc("\u1112\u1161\u1112"), "하\u1112");
  EXPECT_EQ(nfc("하\u11AB"), "한");
  EXPECT_EQ(nfc("한\u11AB"), "한\u11AB");  // has a final consonant already
  EXPECT_EQ(nfc("하\u11A7"), "하\u11A7");  // no consonant
}

TEST(Nfc, BeginsAndEndsWithMarks) {
  EXPECT_EQ(nfc("\u0301"), "\u0301");
  EXPECT_EQ(nfc("\u0301\u0323a"), "\u0323\u0301a");
  EXPECT_EQ(nfc("ab\u0308"), "ab\u0308");
}

}  // namespace
}  // namespace dynamo::text
