#include "base/instance_id.h"

#include <gtest/gtest.h>

#include <set>

namespace dynamo {
namespace {

TEST(InstanceId, ComesBackFromItsText) {
  EXPECT_EQ(instance_text(0x1f), "000000000000001f");
  for (const uint64_t instance : {uint64_t{1}, uint64_t{0x1fULL << 40}, UINT64_MAX})
    EXPECT_EQ(parse_instance(instance_text(instance)), instance);
  EXPECT_EQ(parse_instance("1f"), 0x1fU);
}

TEST(InstanceId, OtherTextIsNone) {
  for (const char* text : {"", "0", "0000000000000000", "1F", "x", "-1", "+1", "0x1f", " 1", "1 ", "00000000000000001"})
    EXPECT_EQ(parse_instance(text), std::nullopt) << text;
}

TEST(InstanceId, NoTwoProcessesDrawTheSame) {
  std::set<uint64_t> drawn;
  for (int i = 0; i < 100; ++i) drawn.insert(random_instance());
  EXPECT_EQ(drawn.size(), 100U);
  EXPECT_FALSE(drawn.contains(0));
}

}  // namespace
}  // namespace dynamo
