// Takes connections for as long as a socket listens, whatever fails meanwhile: what each of our TCP servers runs.
// Threads: that of the acceptor.
#pragma once

#include <functional>
#include <string>

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>

#include "base/clock.h"
#include "base/task.h"

namespace dynamo {

inline constexpr Duration kAcceptPause = std::chrono::milliseconds(100);

struct Accepting {
  std::string name;                                           // of who listens, for the log: "the hub"
  std::function<boost::asio::io_context&()> thread_of_next;   // whose the next connection is
  std::function<void(boost::asio::ip::tcp::socket)> on_next;  // takes it
};

// Returns when `acceptor` is closed, and not before. What goes wrong - no descriptor is left for a connection, `on_next` throws - is
// logged once, and the next connection is waited for kAcceptPause later: it costs no spinning, and nobody stops being served.
// `acceptor` outlives the coroutine.
Task<void> accept_until_closed(boost::asio::ip::tcp::acceptor* acceptor, Accepting how);

}  // namespace dynamo
