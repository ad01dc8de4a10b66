#include "model/rope.h"

#include <cmath>

#include <gtest/gtest.h>

namespace dynamo::model {
namespace {

ModelConfig config_of(uint32_t head_dim, float base) {
  ModelConfig config;
  config.head_dim = head_dim;
  config.rope_base = base;
  return config;
}

// What transformers computes in fp32 for Llama 3.2's shape: every second pair.
TEST(Rope, StretchesFrequenciesAsTransformersDoesForLlama3) {
  ModelConfig config = config_of(64, 500000.0F);
  config.rope_scaling = RopeScaling{
      .factor = 32.0F, .low_frequency_factor = 1.0F, .high_frequency_factor = 4.0F, .original_context = 8192};
  const std::vector<double> expected = {1.0,
                                        0.440366626,
                                        0.193922758,
                                        0.0853971019,
                                        0.0376060307,
                                        0.0165604409,
                                        0.00729266508,
                                        0.00321144611,
                                        0.000429556705,
                                        1.94616387e-05,
                                        8.57025589e-06,
                                        3.77405445e-06,
                                        1.66196742e-06,
                                        7.31874934e-07,
                                        3.22293289e-07,
                                        1.41927202e-07};
  const std::vector<double> frequencies = rope_frequencies(config);
  ASSERT_EQ(frequencies.size(), 32U);
  for (size_t i = 0; i < expected.size(); ++i) {
    EXPECT_NEAR(frequencies[2 * i] / expected[i], 1.0, 1e-6) << "pair " << 2 * i;
  }
}

TEST(Rope, FrequenciesFallFromOneByAConstantRatio) {
  const std::vector<double> frequencies = rope_frequencies(config_of(8, 10000.0F));
  const std::vector<double> expected = {1.0, 0.1, 0.01, 0.001};
  ASSERT_EQ(frequencies.size(), expected.size());
  for (size_t i = 0; i < expected.size(); ++i) EXPECT_DOUBLE_EQ(frequencies[i], expected[i]);
}

TEST(Rope, FactorsOfAGgufDivideAndReplaceTheScaling) {
  ModelConfig config = config_of(4, 100.0F);
  config.rope_scaling = RopeScaling{.factor = 7.0F};
  config.rope_factors = {1.0F, 4.0F};
  const std::vector<double> frequencies = rope_frequencies(config);
  ASSERT_EQ(frequencies.size(), 2U);
  EXPECT_DOUBLE_EQ(frequencies[0], 1.0);
  EXPECT_DOUBLE_EQ(frequencies[1], 0.1 / 4);
}

TEST(Rope, EqualLowAndHighFactorsLeaveNoBlend) {
  ModelConfig config = config_of(64, 1e6F);
  config.rope_scaling = RopeScaling{
      .factor = 2.0F, .low_frequency_factor = 4.0F, .high_frequency_factor = 4.0F, .original_context = 8192};
  for (const double frequency : rope_frequencies(config)) {
    EXPECT_TRUE(std::isfinite(frequency));
  }
}

TEST(Rope, AnglesStayExactAtLatePositions) {
  const std::vector<double> frequencies = {1.0, 1e-3};
  float cosines[2];
  float sines[2];
  rope_angles(frequencies, 131071, cosines, sines);
  EXPECT_FLOAT_EQ(cosines[0], static_cast<float>(std::cos(131071.0)));
  EXPECT_FLOAT_EQ(sines[0], static_cast<float>(std::sin(131071.0)));
  EXPECT_FLOAT_EQ(cosines[1], static_cast<float>(std::cos(131.071)));
  EXPECT_FLOAT_EQ(sines[1], static_cast<float>(std::sin(131.071)));
}

}  // namespace
}  // namespace dynamo::model
