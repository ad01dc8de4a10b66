// Messages in order, packed into few pieces of memory: what a bus keeps until it can send or deliver.
//
// A message costs no allocation of its own. A Batch leaves the queue whole, so that its messages are read without a lock, and
// what was not done of it can be put back in front. Threads: values; the owner locks.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <string>
#include <string_view>

namespace dynamo::events {

// Views into a Batch. A zero byte follows the subject, so that subject.data() serves C libraries too.
struct MessageView {
  std::string_view subject;
  std::string_view data;
};

class MessageBatch {
 public:
  bool is_empty() const { return count_ == 0; }
  size_t count() const { return count_; }
  // What the unread messages take, their subjects and framing included.
  size_t bytes() const { return packed_.size() - read_; }

  void push(std::string_view subject, std::string_view data);
  // Requires: not empty. The views hold until the next push().
  MessageView front() const;
  void pop();

 private:
  std::string packed_;  // per message: subject size, data size (uint32 each), subject, zero byte, data
  size_t read_ = 0;
  size_t count_ = 0;
};

class MessageQueue {
 public:
  // What a message takes in here.
  static size_t cost(std::string_view subject, std::string_view data);

  bool is_empty() const { return count_ == 0; }
  size_t count() const { return count_; }
  size_t bytes() const { return bytes_; }

  void push(std::string_view subject, std::string_view data);
  // Requires: not empty.
  void drop_oldest();
  // Returns: the oldest messages, about 64 KiB of them; empty if there are none.
  MessageBatch take();
  // Puts the unread rest of a taken batch back in front.
  void put_back(MessageBatch batch);

 private:
  std::deque<MessageBatch> batches_;  // none is empty
  size_t bytes_ = 0;
  size_t count_ = 0;
};

}  // namespace dynamo::events
