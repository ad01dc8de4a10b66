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

TEST(Subjects, AreTakenOnlyWhenWellFormed) {
  for (const char* good : {"a", "a.b", "dynamo.ns.kv.1f"}) EXPECT_TRUE(is_subject(good) && is_pattern(good)) << good;
  for (const char* bad : {"", ".", "a.", ".a", "a..b", "a b", "a.b\r\n"})
    EXPECT_FALSE(is_subject(bad) || is_pattern(bad)) << bad;
  for (const char* pattern : {"*", ">", "a.*.b", "a.>", "*.>"})
    EXPECT_TRUE(is_pattern(pattern) && !is_subject(pattern)) << pattern;
  for (const char* bad : {"a.>.b", "a*", ">a", "a.b>"}) EXPECT_FALSE(is_pattern(bad)) << bad;
}

}  // namespace
}  // namespace dynamo::events
