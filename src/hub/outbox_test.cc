#include "hub/outbox.h"

#include <gtest/gtest.h>

#include "hub/hub_protocol.h"

namespace dynamo::hub {
namespace {

// An event, and its frame.
void push_event(Outbox* outbox, const char* data, size_t max_events = 100) {
  outbox->push_event("s", data, max_events * events::MessageQueue::cost("s", data));
}
std::string frame(const char* data) {
  std::string frame;
  append_publish("s", data, &frame);
  return frame;
}

TEST(Outbox, KeepsOrderAcrossKinds) {
  Outbox outbox;
  outbox.push("a");
  push_event(&outbox, "1");
  push_event(&outbox, "2");
  outbox.push("b");
  outbox.push("c");
  push_event(&outbox, "3");
  EXPECT_EQ(outbox.take(2), std::string("a") + frame("1"));
  EXPECT_EQ(outbox.take(1000), frame("2") + "bc" + frame("3"));
  EXPECT_EQ(outbox.take(1000), "");
}

TEST(Outbox, DropsTheOldestEventsAndKeepsAllElse) {
  Outbox outbox;
  outbox.push("control");
  for (const char* event : {"1", "2", "3"}) push_event(&outbox, event, /*max_events=*/2);
  outbox.push("behind");
  EXPECT_EQ(outbox.dropped(), 1U);
  EXPECT_EQ(outbox.take(1000), std::string("control") + frame("2") + frame("3") + "behind");
}

TEST(Outbox, NewConnectionBeginsWithItsOwnFrames) {
  Outbox outbox;
  push_event(&outbox, "1");
  outbox.push("old");
  push_event(&outbox, "2");
  outbox.end(events::MessageQueue::cost("s", "2"));
  outbox.begin({"hello", "watch"});
  EXPECT_EQ(outbox.take(1000), std::string("hellowatch") + frame("2"));
  EXPECT_EQ(outbox.dropped(), 1U);
}

}  // namespace
}  // namespace dynamo::hub
