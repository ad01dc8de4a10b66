// What a hub client has not sent yet, in order. Events are bounded, the oldest dropped first; all else is never dropped, but belongs to
// one connection and is forgotten with it.
// Threads: one at a time (its owner's mutex).
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <vector>

#include "events/message_queue.h"

namespace dynamo::hub {

class Outbox {
 public:
  void push(std::string frame) { controls_.push_back({entered_, std::move(frame)}); }
  // Keeps at most `max_bytes` of events, this one included.
  void push_event(std::string_view subject, std::string_view data, size_t max_bytes);

  // For a new connection: these go before the events that still wait.
  void begin(std::vector<std::string> frames);
  // The connection is gone: forgets what was for it, and keeps at most `max_bytes` of events.
  void end(size_t max_bytes);

  // The next frames as one string of about `bytes`; empty when none waits.
  std::string take(size_t bytes);

  // Events dropped so far.
  uint64_t dropped() const { return dropped_; }

 private:
  struct Control {
    uint64_t behind = 0;  // goes after so many events
    std::string frame;
  };
  bool is_control_next() const { return !controls_.empty() && controls_.front().behind <= left_; }
  void drop_oldest(size_t max_bytes);

  std::deque<Control> controls_;
  events::MessageQueue events_;
  uint64_t entered_ = 0;  // events pushed so far
  uint64_t left_ = 0;     // events taken or dropped so far
  uint64_t dropped_ = 0;
};

}  // namespace dynamo::hub
