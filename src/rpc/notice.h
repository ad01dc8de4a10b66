// Lets coroutines of one I/O thread wait for each other: check the condition, wait, check again.
// Any number may wait at once; none of them wakes another.  Threads: one single-threaded executor.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/intrusive/list.hpp>

#include "base/clock.h"
#include "base/task.h"

namespace dynamo::rpc {

class Notice {
 public:
  explicit Notice(boost::asio::any_io_executor executor) : executor_(std::move(executor)) {}

  // Returns when notify() is called or the time has come; also now and then for no reason. The Notice outlives the wait.
  Task<void> wait(Time until) {
    Waiter waiter(executor_, until);
    waiters_.push_back(waiter);
    boost::system::error_code ignored;
    co_await waiter.timer.async_wait(boost::asio::redirect_error(boost::asio::use_awaitable, ignored));
  }
  void notify() {
    for (Waiter& waiter : waiters_) waiter.timer.cancel();
  }

 private:
  // Lies in the waiting coroutine, and leaves the list with it.
  struct Waiter : boost::intrusive::list_base_hook<boost::intrusive::link_mode<boost::intrusive::auto_unlink>> {
    Waiter(const boost::asio::any_io_executor& executor, Time until) : timer(executor, until) {}
    boost::asio::steady_timer timer;
  };

  boost::asio::any_io_executor executor_;
  boost::intrusive::list<Waiter, boost::intrusive::constant_time_size<false>> waiters_;
};

}  // namespace dynamo::rpc
