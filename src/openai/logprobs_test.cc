#include "openai/logprobs.h"

#include <limits>

#include <gtest/gtest.h>

#include "json/parse.h"

namespace dynamo::openai {
namespace {

TEST(Logprobs, AreShortAndFinite) {
  const auto text = [](float value) {
    std::string out;
    append_logprob(&out, value);
    return out;
  };
  EXPECT_EQ(text(-0.1F), "-0.1");
  EXPECT_EQ(text(0), "0");
  EXPECT_EQ(text(-std::numeric_limits<float>::infinity()), "-9999");
  EXPECT_EQ(text(std::numeric_limits<float>::quiet_NaN()), "-9999");
  EXPECT_EQ(json::parse(text(-1e-30F))->as_double(), -1e-30);
}

}  // namespace
}  // namespace dynamo::openai
