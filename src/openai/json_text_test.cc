#include "openai/json_text.h"

#include <gtest/gtest.h>

#include <limits>
#include <random>

#include <boost/json/parse.hpp>
#include <boost/json/string.hpp>
#include <boost/json/value.hpp>

namespace dynamo::openai {
namespace {

std::string in_quotes(std::string_view text) {
  std::string out;
  append_json_string(&out, text);
  return out;
}

TEST(JsonText, EscapesWhatJsonAsksForAndNothingElse) {
  EXPECT_EQ(in_quotes("plain / é 漢 😀 \x7f"), "\"plain / é 漢 😀 \x7f\"");
  EXPECT_EQ(in_quotes("\"\\\b\f\n\r\t"), R"("\"\\\b\f\n\r\t")");
  EXPECT_EQ(in_quotes(std::string_view("\0\x01\x1f", 3)), R"("\u0000\u0001\u001f")");
  EXPECT_EQ(in_quotes(""), R"("")");
}

TEST(JsonText, ReadsBackAsItWasForAnyText) {
  std::mt19937 random(7);
  for (int round = 0; round < 2000; ++round) {
    std::string text;
    for (size_t length = random() % 40; length > 0; --length) {
      switch (random() % 3) {
        case 0:
          text += static_cast<char>(random() % 128);
          break;
        case 1:
          text += "é";
          break;
        default:
          text += "\\\"\n";
      }
    }
    EXPECT_EQ(boost::json::parse(in_quotes(text)).as_string(), text);
  }
}

TEST(JsonText, LogprobsAreShortAndFinite) {
  const auto text = [](float value) {
    std::string out;
    append_json_logprob(&out, value);
    return out;
  };
  EXPECT_EQ(text(-0.1F), "-0.1");
  EXPECT_EQ(text(0), "0");
  EXPECT_EQ(text(-std::numeric_limits<float>::infinity()), "-9999");
  EXPECT_EQ(text(std::numeric_limits<float>::quiet_NaN()), "-9999");
  EXPECT_EQ(boost::json::parse(text(-1e-30F)).as_double(), -1e-30);
}

}  // namespace
}  // namespace dynamo::openai
