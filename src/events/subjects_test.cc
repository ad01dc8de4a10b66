#include "events/subjects.h"

#include <gtest/gtest.h>

#include "events/event_bus.h"

namespace dynamo::events {
namespace {

TEST(Subjects, AreThoseThatOtherVersionsPublishOn) {
  EXPECT_EQ(kv_subject("ns", 0x1f), "dynamo.ns.kv.000000000000001f");
  EXPECT_EQ(load_subject("ns", 0x1f), "dynamo.ns.load.000000000000001f");
  EXPECT_EQ(routers_subject("ns"), "dynamo.ns.router");
}

TEST(Subjects, AllWorkersArePatternsThatMatchEach) {
  EXPECT_TRUE(is_pattern(kv_subjects("ns")) && is_pattern(load_subjects("ns")));
  EXPECT_TRUE(is_subject(kv_subject("ns", 7)) && is_subject(load_subject("ns", 7)));
  EXPECT_TRUE(matches(kv_subjects("ns"), kv_subject("ns", 7)));
  EXPECT_TRUE(matches(load_subjects("ns"), load_subject("ns", 7)));
  EXPECT_FALSE(matches(kv_subjects("ns"), load_subject("ns", 7)));
  EXPECT_FALSE(matches(kv_subjects("ns"), kv_subject("other", 7)));
}

TEST(Subjects, AWorkersNamesItsInstance) {
  EXPECT_EQ(publisher_of(kv_subject("ns", 7)), 7U);
  EXPECT_EQ(publisher_of(load_subject("ns", 7)), 7U);
  for (const char* other : {"", "dynamo.ns.router", "dynamo.ns.kv", "dynamo.ns.kv.", "dynamo.ns.kv.0", "dynamo.ns.kv.x",
                            "dynamo.ns.kv.7.8", "7", "dynamo.ns.other.7"})
    EXPECT_EQ(publisher_of(other), std::nullopt) << other;
}

}  // namespace
}  // namespace dynamo::events
