#include "base/status.h"

#include <gtest/gtest.h>

namespace dynamo {
namespace {

Result<int> half(int number) {
  if (number % 2 != 0) return invalid("odd number " + std::to_string(number));
  return number / 2;
}

Result<int> quarter(int number) {
  TRY(int once, half(number));
  TRY(int twice, half(once));
  return twice;
}

Status check_even(int number) {
  TRY_STATUS(half(number));
  return {};
}

TEST(Status, TryPassesAValueOnAndAFailureUp) {
  EXPECT_EQ(quarter(12).value(), 3);
  EXPECT_EQ(quarter(6).status().to_string(), "invalid: odd number 3");
  EXPECT_TRUE(check_even(4).is_ok());
  EXPECT_EQ(check_even(5).code(), Code::kInvalid);
}

TEST(Status, ContextIsPutBeforeTheTextAndKeepsTheCode) {
  const Status status = corrupt("short read").with("block 7").with("loading");
  EXPECT_EQ(status.code(), Code::kCorrupt);
  EXPECT_EQ(status.text(), "loading: block 7: short read");
  EXPECT_TRUE(Status().with("anything").is_ok());
}

TEST(StatusDeathTest, ReadingTheValueOfAFailureStopsTheProgram) {
  EXPECT_DEATH(static_cast<void>(half(3).value()), "odd number 3");
}

}  // namespace
}  // namespace dynamo
