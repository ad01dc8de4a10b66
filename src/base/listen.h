// Opens a listening TCP socket, and says what is wrong when that cannot be.
// Threads: the acceptor's.
#pragma once

#include <cstdint>
#include <string>

#include <boost/asio/ip/tcp.hpp>

#include "base/status.h"

namespace dynamo {

// `port_flag` is how people choose another port ("--http-port"). Port 0 takes any free one.
// Errors: kInvalid (no such address), kUnavailable (in use, or not ours: host, port and remedy). The acceptor is closed then.
Status listen_on(boost::asio::ip::tcp::acceptor* acceptor, const std::string& host, uint16_t port,
                 const std::string& port_flag);

}  // namespace dynamo
