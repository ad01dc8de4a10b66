// How a request gets in: at once, or when its turn comes in the line of those that wait while every worker is busy.
// Higher priority first, then who came first.
// Threads: admit() any; what the line holds is under the lock that it is made with, its owner's.
// Private to the module.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <set>

#include <prometheus/gauge.h>
#include <boost/asio/any_io_executor.hpp>

#include "base/mutex.h"
#include "base/status.h"
#include "base/task.h"
#include "base/timer.h"

namespace dynamo::router {

class WaitingLine {
 public:
  // All that it is given outlives it. `length` shows how many wait.
  WaitingLine(Mutex* mutex, const Clock* clock, size_t most, prometheus::Gauge* length)
      : mutex_(mutex), clock_(clock), most_(most), length_(length) {}

  // Calls `attempt` under the lock, now if nobody is before it and whenever it is its turn, until that returns true:
  // the request is in, or will never be.
  // Errors: kExhausted (too many wait already, or `until` came first).
  Task<Status> admit(int32_t priority, Time until, std::function<bool()> attempt);
  // There may be room: the first one tries again. Requires: the lock is held.
  void call_next();

 private:
  struct Waiter {
    Waiter(const Clock* clock, const boost::asio::any_io_executor& executor, int32_t its_priority, uint64_t its_number)
        : timer(clock, executor), priority(its_priority), number(its_number) {}
    Timer timer;
    const int32_t priority;
    const uint64_t number;   // kept when it has to wait again
    bool is_called = false;  // it is its turn; not in the line then
  };
  struct IsBefore {
    bool operator()(const std::shared_ptr<Waiter>& a, const std::shared_ptr<Waiter>& b) const {
      return a->priority != b->priority ? a->priority > b->priority : a->number < b->number;
    }
  };
  struct Leaving;

  bool is_anyone_before(int32_t priority) const { return !line_.empty() && (*line_.begin())->priority >= priority; }
  void show_length() const { length_->Set(static_cast<double>(line_.size())); }

  Mutex* const mutex_;
  const Clock* const clock_;
  const size_t most_;
  prometheus::Gauge* const length_;
  // Under the lock; clang cannot tell that it is its owner's.
  std::set<std::shared_ptr<Waiter>, IsBefore> line_;
  uint64_t last_ = 0;
};

}  // namespace dynamo::router
