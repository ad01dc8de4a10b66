// The part of a client that needs no hub: what it keeps to send.
#include <gtest/gtest.h>

#include "hub/outbox.h"

namespace dynamo::hub {
namespace {

TEST(Outbox, KeepsOrderAcrossKinds) {
  Outbox outbox;
  outbox.push("a");
  outbox.push_event("1", 100);
  outbox.push("b");
  outbox.push_event("2", 100);
  EXPECT_EQ(outbox.take(2), "a1");
  EXPECT_EQ(outbox.take(100), "b2");
  EXPECT_EQ(outbox.take(100), "");
}

TEST(Outbox, DropsTheOldestEventsAndKeepsAllElse) {
  Outbox outbox;
  outbox.push("control");
  for (const char* event : {"1111", "2222", "3333"}) outbox.push_event(event, 8);
  EXPECT_EQ(outbox.dropped(), 1U);
  EXPECT_EQ(outbox.take(100), "control22223333");
}

TEST(Outbox, NewConnectionBeginsWithItsOwnFrames) {
  Outbox outbox;
  outbox.push_event("1111", 8);
  outbox.push("old");
  outbox.push_event("2222", 8);
  outbox.end(4);
  outbox.begin({"hello", "watch"});
  EXPECT_EQ(outbox.take(100), "hellowatch2222");
  EXPECT_EQ(outbox.dropped(), 1U);
}

}  // namespace
}  // namespace dynamo::hub
