// Frames that a hub client has not sent yet, in order. Events are bounded, the oldest dropped first; all else is never dropped, but
// belongs to one connection and is forgotten with it.
// Threads: one at a time (its owner's mutex).
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <string>
#include <vector>

namespace dynamo::hub {

class Outbox {
 public:
  void push(std::string frame) { controls_.push_back({++last_, std::move(frame)}); }
  // Keeps at most `max_bytes` of events, this one included.
  void push_event(std::string frame, size_t max_bytes);

  // For a new connection: these go before the events that still wait.
  void begin(std::vector<std::string> frames);
  // The connection is gone: forgets what was for it, and keeps at most `max_bytes` of events.
  void end(size_t max_bytes);

  // The next frames as one string of about `bytes`; empty when none waits.
  std::string take(size_t bytes);

  // Events dropped so far.
  uint64_t dropped() const { return dropped_; }

 private:
  struct Waiting {
    uint64_t number = 0;  // orders the two queues
    std::string frame;
  };
  void drop_oldest(size_t max_bytes);

  uint64_t last_ = 0;
  std::deque<Waiting> controls_;
  std::deque<Waiting> events_;
  size_t event_bytes_ = 0;
  uint64_t dropped_ = 0;
};

}  // namespace dynamo::hub
