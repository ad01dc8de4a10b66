// Frames that wait to be sent to one client of the hub, bounded.
//
// Events that a slow client has no room for are dropped and counted, and the client is told how many. Everything else is never
// dropped: a client that leaves more than the bound of it untaken is overrun, to be cut off. Threads: one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <vector>

namespace dynamo::hub {

using SharedFrame = std::shared_ptr<const std::string>;  // one frame goes to many clients

class PeerQueue {
 public:
  // `max_bytes` for events, and as much again for all else.
  explicit PeerQueue(size_t max_bytes) : max_bytes_(max_bytes) {}

  void push(SharedFrame frame);
  void push_event(SharedFrame frame);

  // Frames to write next, in order, together at most about `bytes`; empty when none waits.
  std::vector<SharedFrame> take(size_t bytes);

  bool is_empty() const { return frames_.empty(); }
  bool is_overrun() const { return is_overrun_; }

 private:
  struct Waiting {
    SharedFrame frame;
    bool is_event = false;
  };
  void tell_dropped();

  size_t max_bytes_;
  std::deque<Waiting> frames_;
  size_t event_bytes_ = 0;
  size_t other_bytes_ = 0;
  uint64_t untold_dropped_ = 0;
  bool is_overrun_ = false;
};

}  // namespace dynamo::hub
