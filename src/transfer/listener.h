// The listening socket of a transfer thread.
//
// Its EventPoll tells of connections that wait for as long as they wait. When one cannot be taken, as no descriptor is left, telling it
// again and again would only keep the thread awake: the socket is not watched for a pause then.
// Threads: one.  Private to the module.
#pragma once

#include <cstdint>
#include <optional>

#include "base/clock.h"
#include "base/status.h"
#include "transfer/event_poll.h"

namespace dynamo::transfer {

// Connections that have not said hello yet, of one backend. With one more the oldest gives way: so many that stay silent keep nobody out.
inline constexpr int kMostUngreeted = 64;

class Listener {
 public:
  static constexpr Duration kPause = std::chrono::milliseconds(100);

  Listener(Fd socket, EventPoll* events, uint64_t token) : socket_(std::move(socket)), events_(events), token_(token) {}
  // Begins to watch. Before anything else. Errors: kExhausted.
  Status open() { return events_->add(socket_.get(), token_, EPOLLIN); }

  // Returns: the next connection, watched as `token`; none: no more can be taken now.
  std::optional<Fd> accept(uint64_t token);
  // Ends a pause that is over. Returns: when it has to be called again.
  Time check(Time now);

 private:
  void pause(const Status& why);

  const Fd socket_;
  EventPoll* const events_;
  const uint64_t token_;
  Time paused_until_ = Time::max();  // max: it is watched
  bool has_told_ = false;            // of connections that cannot be taken, since one was
};

}  // namespace dynamo::transfer
