// Lets coroutines of one I/O thread wait for each other: check the condition, wait, check again.
// Threads: one single-threaded executor.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "base/clock.h"
#include "base/task.h"

namespace dynamo::rpc {

class Notice {
 public:
  explicit Notice(const boost::asio::any_io_executor& executor) : timer_(executor) {}

  // Returns when notify() is called or the time has come; also now and then for no reason. One waiter at a time.
  Task<void> wait(Time until) {
    timer_.expires_at(until);
    boost::system::error_code ignored;
    co_await timer_.async_wait(boost::asio::redirect_error(boost::asio::use_awaitable, ignored));
  }
  void notify() { timer_.cancel(); }

 private:
  boost::asio::steady_timer timer_;
};

}  // namespace dynamo::rpc
