#include "generate/sampling_limits.h"

#include <cmath>
#include <limits>

#include <gtest/gtest.h>

namespace dynamo {
namespace {

using Limits = std::numeric_limits<float>;

struct Field {
  const char* name;
  float SamplingParams::* field;
};
constexpr Field kFields[] = {{"temperature", &SamplingParams::temperature},
                             {"top_p", &SamplingParams::top_p},
                             {"min_p", &SamplingParams::min_p},
                             {"repetition_penalty", &SamplingParams::repetition_penalty},
                             {"presence_penalty", &SamplingParams::presence_penalty},
                             {"frequency_penalty", &SamplingParams::frequency_penalty}};

TEST(SamplingLimits, WhatIsNoNumberOrOutOfRangeIsRefusedByItsName) {
  EXPECT_TRUE(check_limits(SamplingParams()).is_ok());
  for (const Field& field : kFields) {
    for (const float value : {Limits::quiet_NaN(), Limits::infinity(), -Limits::infinity(), -100.5F, 100.5F}) {
      SamplingParams sampling;
      sampling.*field.field = value;
      const Status status = check_limits(sampling);
      EXPECT_EQ(status.code(), Code::kInvalid) << field.name << " " << value;
      EXPECT_TRUE(status.text().starts_with(std::string(field.name) + " is ")) << status.text();
    }
  }
  for (const float value : {0.0F, Limits::denorm_min(), Limits::min()}) {
    SamplingParams sampling;
    sampling.top_p = value;
    EXPECT_EQ(check_limits(sampling).code(), Code::kInvalid);
    sampling = {};
    sampling.repetition_penalty = value;
    EXPECT_EQ(check_limits(sampling).code(), Code::kInvalid);
  }
  SamplingParams sampling;
  sampling.top_k = -1;
  EXPECT_EQ(check_limits(sampling).text(), "top_k is -1; it must be at least 0");
  sampling = {};
  sampling.logit_bias = {{3, 100.0F}, {7, 100.5F}};
  EXPECT_EQ(check_limits(sampling).text(), "logit_bias.7 is 100.5; it must be in [-100, 100]");
  sampling.logit_bias = {{7, Limits::quiet_NaN()}};
  EXPECT_EQ(check_limits(sampling).code(), Code::kInvalid);
}

TEST(SamplingLimits, WhatTheApiTakesIsBroughtIntoThem) {
  for (const double tiny : {1e-4, 1e-37, 1e-38, 1e-45, 1e-300, 5e-324}) {
    SamplingParams sampling;
    sampling.temperature = sampling.min_p = sampling.top_p = sampling.repetition_penalty = static_cast<float>(tiny);
    clamp_to_limits(&sampling);
    EXPECT_TRUE(check_limits(sampling).is_ok()) << tiny;
    EXPECT_GT(sampling.top_p, 0);
    EXPECT_GT(sampling.repetition_penalty, 0);
    EXPECT_EQ(sampling.temperature, static_cast<float>(tiny)) << "0 is a temperature of its own";
  }
  SamplingParams advised;
  advised.temperature = 1e9F;
  advised.top_k = -1;
  clamp_to_limits(&advised);
  EXPECT_TRUE(check_limits(advised).is_ok());
  EXPECT_EQ(advised.top_k, 0);
  const SamplingParams usual{.temperature = 0.6F,
                             .top_p = 0.95F,
                             .top_k = 20,
                             .min_p = 0.05F,
                             .repetition_penalty = 1.1F,
                             .presence_penalty = -2,
                             .frequency_penalty = 2,
                             .seed = 3,
                             .logit_bias = {{1, -100.0F}}};
  SamplingParams same = usual;
  clamp_to_limits(&same);
  for (const Field& field : kFields) EXPECT_EQ(same.*field.field, usual.*field.field) << field.name;
  EXPECT_EQ(same.top_k, 20);
  EXPECT_EQ(same.logit_bias, usual.logit_bias);
  SamplingParams broken;
  broken.temperature = Limits::quiet_NaN();
  clamp_to_limits(&broken);
  EXPECT_FALSE(check_limits(broken).is_ok()) << "nothing stands for what is no number";
}

}  // namespace
}  // namespace dynamo
