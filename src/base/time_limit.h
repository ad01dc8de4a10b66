// Ends what is under way when its time has come.
//
// cancel() does not take back the handler of an asio timer that is due already: it runs later, when what it was to end is over, and
// perhaps gone. This one's does nothing then.
// Threads: one single-threaded executor.
#pragma once

#include <functional>
#include <memory>
#include <utility>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/steady_timer.hpp>

#include "base/clock.h"

namespace dynamo {

class TimeLimit {
 public:
  // Calls `end` at `until`, unless the limit is gone before.
  TimeLimit(const boost::asio::any_io_executor& executor, Time until, std::function<void()> end)
      : timer_(executor, until) {
    timer_.async_wait([state = state_, end = std::move(end)](const boost::system::error_code& cancelled) {
      if (cancelled || state->is_over) return;
      state->has_passed = true;
      end();
    });
  }
  ~TimeLimit() { state_->is_over = true; }
  TimeLimit(const TimeLimit&) = delete;
  TimeLimit& operator=(const TimeLimit&) = delete;

  bool has_passed() const { return state_->has_passed; }

 private:
  struct State {
    bool has_passed = false;
    bool is_over = false;
  };
  std::shared_ptr<State> state_ = std::make_shared<State>();
  boost::asio::steady_timer timer_;
};

}  // namespace dynamo
