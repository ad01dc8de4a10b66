// Opens a listening TCP socket, and says what is wrong when that cannot be.
// Threads: the acceptor's.
#pragma once

#include <cstdint>
#include <string>

#include <boost/asio/ip/tcp.hpp>

#include "base/status.h"

namespace dynamo {

// How people choose another place.
struct ListenFlags {
  const char* host;  // "--http-host"
  const char* port;  // "--http-port"
};

// `host` as parse_host returns it; "::" takes IPv4 connections too. Port 0 takes any free one.
// Errors: kInvalid (no such address), kUnavailable (in use, or not ours: host, port and remedy). The acceptor is closed then.
Status listen_on(boost::asio::ip::tcp::acceptor* acceptor, const std::string& host, uint16_t port, ListenFlags flags);

}  // namespace dynamo
