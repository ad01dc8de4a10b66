// Waiting by a Clock, so that a simulation's waits end when its clock says so.
//
// With the steady clock this is asio's timer. Any other clock is told when the timer is due and wakes it.
// Threads: one executor, that of the coroutine that waits.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/steady_timer.hpp>

#include "base/clock.h"
#include "base/task.h"

namespace dynamo {

class Timer {
 public:
  // `clock` outlives the timer.
  Timer(const Clock* clock, const boost::asio::any_io_executor& executor) : clock_(clock), timer_(executor) {}
  ~Timer() { clock_->disarm(this); }
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;

  // Returns at `until`, and sooner when woken or when the waiting coroutine is cancelled: look at the clock.
  // Requires: one wait at a time.
  Task<void> wait(Time until);
  // Ends the wait, if there is one.
  void wake() { timer_.cancel(); }
  const boost::asio::any_io_executor& executor() { return executor_; }

 private:
  const Clock* clock_;
  boost::asio::steady_timer timer_;
  boost::asio::any_io_executor executor_ = timer_.get_executor();
};

}  // namespace dynamo
