#include "events/message_queue.h"

#include <gtest/gtest.h>

namespace dynamo::events {
namespace {

TEST(MessageQueue, GivesBackWhatWasPutInInOrder) {
  MessageQueue queue;
  for (int i = 0; i < 10'000; ++i) queue.push("s." + std::to_string(i), std::string(i % 50, static_cast<char>(i)));
  EXPECT_EQ(queue.count(), 10'000);
  int next = 0;
  while (!queue.is_empty()) {
    for (MessageBatch batch = queue.take(); !batch.is_empty(); batch.pop(), ++next) {
      EXPECT_EQ(batch.front().subject, "s." + std::to_string(next));
      EXPECT_EQ(batch.front().data, std::string(next % 50, static_cast<char>(next)));
      EXPECT_EQ(*(batch.front().subject.data() + batch.front().subject.size()), '\0');
    }
  }
  EXPECT_EQ(next, 10'000);
  EXPECT_EQ(queue.bytes(), 0);
}

TEST(MessageQueue, WhatIsPutBackComesFirst) {
  MessageQueue queue;
  for (const char* data : {"a", "b", "c"}) queue.push("s", data);
  MessageBatch batch = queue.take();
  batch.pop();
  queue.push("s", "d");
  queue.put_back(std::move(batch));
  std::string order;
  size_t bytes = queue.bytes();
  while (!queue.is_empty()) {
    MessageBatch rest = queue.take();
    bytes -= rest.bytes();
    for (; !rest.is_empty(); rest.pop()) order += rest.front().data;
  }
  EXPECT_EQ(order, "bcd");
  EXPECT_EQ(bytes, 0);
}

TEST(MessageQueue, DropsTheOldest) {
  MessageQueue queue;
  for (int i = 0; i < 5000; ++i) queue.push("s", std::string(100, 'x') + std::to_string(i));
  for (int i = 0; i < 4999; ++i) queue.drop_oldest();
  EXPECT_EQ(queue.count(), 1);
  EXPECT_EQ(queue.bytes(), MessageQueue::cost("s", std::string(104, 'x')));
  EXPECT_EQ(queue.take().front().data.substr(100), "4999");
}

}  // namespace
}  // namespace dynamo::events
