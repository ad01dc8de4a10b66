#include "events/event_bus.h"

#include <gtest/gtest.h>

namespace dynamo::events {
namespace {

TEST(Subjects, MatchPartByPart) {
  EXPECT_TRUE(matches("a.b.c", "a.b.c"));
  EXPECT_TRUE(matches("a.*.c", "a.b.c"));
  EXPECT_TRUE(matches("a.>", "a.b.c"));
  EXPECT_TRUE(matches(">", "a"));
  EXPECT_FALSE(matches("a.>", "a"));
  EXPECT_FALSE(matches("a.b", "a.b.c"));
  EXPECT_FALSE(matches("a.b.c", "a.b"));
  EXPECT_FALSE(matches("a.*", "a.b.c"));
  EXPECT_FALSE(matches("a.*", "b.c"));
  EXPECT_FALSE(matches("a", "ab"));
  EXPECT_FALSE(matches("a.*.c", "a..c"));
}

}  // namespace
}  // namespace dynamo::events
