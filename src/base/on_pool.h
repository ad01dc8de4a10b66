// Awaiting work on a thread pool from a coroutine of an I/O thread, safely when that coroutine is cancelled meanwhile.
//
// co_spawn(pool, work, use_awaitable) passes a cancellation on to the pool's thread, where it may arrive after the work
// has ended and what it points to is gone (Boost 1.81). Here the work is not told, and runs to its end.
// Threads: `work` runs on the pool; the caller goes on where it was.
#pragma once

#include <utility>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "base/task.h"

namespace dynamo {

// A caller that is cancelled gets the result all the same; its next co_await throws. `pool` outlives the work.
template <class T>
Task<T> on_pool(boost::asio::thread_pool* pool, Task<T> work) {
  co_return co_await boost::asio::co_spawn(
      *pool, std::move(work),
      boost::asio::bind_cancellation_slot(boost::asio::cancellation_slot(), boost::asio::use_awaitable));
}

}  // namespace dynamo
