#include "kernels/cpu/half.h"

#include <gtest/gtest.h>

namespace dynamo::kernels {
namespace {

TEST(Half, EveryBitPatternSurvivesTheWayThroughFloat) {
  for (uint32_t bits = 0; bits < 65536; ++bits) {
    const float value = half_to_float(static_cast<uint16_t>(bits));
    if (std::isnan(value)) continue;
    ASSERT_EQ(float_to_half(value), bits);
  }
  EXPECT_EQ(float_to_half(65520), 0x7C00);
  EXPECT_EQ(float_to_half(65519), 0x7BFF);
}

}  // namespace
}  // namespace dynamo::kernels
