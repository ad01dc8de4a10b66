// The parts of a client that need no hub: what it tells its watchers, and what it keeps to send.
#include <gtest/gtest.h>

#include "hub/key_view.h"
#include "hub/outbox.h"

namespace dynamo::hub {
namespace {

using Changes = KeyView::Changes;

TEST(KeyView, TellsTheDifferenceToWhatWasTold) {
  KeyView view;
  EXPECT_EQ(view.replace({}, false), Changes());
  EXPECT_EQ(view.replace({}, false), std::nullopt);
  EXPECT_EQ(view.replace({{"a", "1"}, {"b", "1"}}, false), (Changes{{"a", "1"}, {"b", "1"}}));
  EXPECT_EQ(view.replace({{"b", "2"}, {"c", "1"}}, false), (Changes{{"a", std::nullopt}, {"b", "2"}, {"c", "1"}}));
  EXPECT_EQ(view.apply({"b", "2"}), std::nullopt);
  EXPECT_EQ(view.apply({"x", std::nullopt}), std::nullopt);
  EXPECT_EQ(view.apply({"b", std::nullopt}), (Changes{{"b", std::nullopt}}));
}

TEST(KeyView, KeepsWhatARestartedHubMayNotKnowYet) {
  KeyView view;
  view.replace({{"a", "1"}, {"b", "1"}, {"c", "1"}, {"d", "1"}}, false);
  EXPECT_EQ(view.replace({{"a", "1"}}, true), std::nullopt);
  EXPECT_EQ(view.apply({"b", "1"}), std::nullopt);  // is back as it was
  EXPECT_EQ(view.apply({"c", "2"}), (Changes{{"c", "2"}}));
  EXPECT_EQ(view.settle(), (Changes{{"d", std::nullopt}}));
  EXPECT_EQ(view.settle(), std::nullopt);
}

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
