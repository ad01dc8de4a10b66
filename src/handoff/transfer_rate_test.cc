#include "handoff/transfer_rate.h"

#include <gtest/gtest.h>

namespace dynamo::handoff {
namespace {

TEST(TransferRate, AFasterHandoffCountsAtOnceAndASlowerOneAFifth) {
  TransferRate rate;
  EXPECT_EQ(rate.value(), 0);
  rate.see(100);  // connects first
  EXPECT_EQ(rate.value(), 100);
  rate.see(10'000);
  EXPECT_EQ(rate.value(), 10'000);
  rate.see(5'000);
  EXPECT_EQ(rate.value(), 9'000);
}

}  // namespace
}  // namespace dynamo::handoff
