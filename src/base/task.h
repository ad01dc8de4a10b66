// Task<T>: the coroutine that everything which waits returns.
//
// A Task starts when it is awaited or spawned and runs on the executor of whoever awaits it; an I/O thread runs one
// boost::asio::io_context, so code between two co_awaits needs no lock. Rules:
// docs/decisions/0003-beast-and-coroutines.md.
//   - parameters by value or borrowed pointer; no reference, span or string_view
//   - no lock and no reference into shared state across a co_await
//   - no braces inside a co_await expression (g++ 12 miscompiles them): name the argument, then move it
#pragma once

#include <boost/asio/awaitable.hpp>

namespace dynamo {

template <class T>
using Task = boost::asio::awaitable<T>;

}  // namespace dynamo
