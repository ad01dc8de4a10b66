#include "json/writer.h"

#include <gtest/gtest.h>

#include <bit>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <random>

#include <boost/json/parse.hpp>
#include <boost/json/string.hpp>
#include <boost/json/value.hpp>

namespace dynamo::json {
namespace {

std::string in_quotes(std::string_view text) {
  std::string out;
  append_string(&out, text);
  return out;
}

TEST(Writer, EscapesWhatJsonAsksForAndNothingElse) {
  EXPECT_EQ(in_quotes("plain / é 漢 😀 \x7f"), "\"plain / é 漢 😀 \x7f\"");
  EXPECT_EQ(in_quotes("\"\\\b\f\n\r\t"), R"("\"\\\b\f\n\r\t")");
  EXPECT_EQ(in_quotes(std::string_view("\0\x01\x1f", 3)), R"("\u0000\u0001\u001f")");
  EXPECT_EQ(in_quotes(""), R"("")");
}

TEST(Writer, ReadsBackAsItWasForAnyText) {
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

template <class T>
T read_back(const std::string& text) {
  T value{};
  EXPECT_EQ(std::from_chars(text.data(), text.data() + text.size(), value).ptr, text.data() + text.size());
  return value;
}

TEST(Writer, NumbersAreAsShortAsReadsBackTheSame) {
  const auto text = [](auto value) {
    std::string out;
    append_float(&out, value);
    return out;
  };
  EXPECT_EQ(text(-0.1F), "-0.1");
  EXPECT_EQ(text(0.1), "0.1");
  EXPECT_EQ(text(0.0F), "0");
  std::string largest;
  append_number(&largest, UINT64_MAX);
  EXPECT_EQ(largest, "18446744073709551615");
  EXPECT_EQ(boost::json::parse(text(-1e-30F)).to_number<float>(), -1e-30F);
  std::mt19937_64 random(11);
  for (int round = 0; round < 2000; ++round) {
    const double value = std::bit_cast<double>(random());
    if (std::isfinite(value)) {
      EXPECT_EQ(read_back<double>(text(value)), value);
    }
    const float small = std::bit_cast<float>(static_cast<uint32_t>(random()));
    if (std::isfinite(small)) {
      EXPECT_EQ(read_back<float>(text(small)), small);
    }
  }
}

}  // namespace
}  // namespace dynamo::json
