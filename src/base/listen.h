// Opens a listening TCP socket, and says what is wrong when that cannot be.
// Threads: the acceptor's.
#pragma once

#include <cstdint>
#include <string>

#include <boost/asio/ip/tcp.hpp>

#include "base/status.h"

namespace dynamo {

// `host` as parse_host returns it; "::" takes IPv4 connections too. Port 0 takes any free one.
// Errors: kInvalid (the host is no address, or none of this machine's), kUnavailable (the port is in use or not for us
// to take); each names host and port. The acceptor is closed then.
Status listen_on(boost::asio::ip::tcp::acceptor* acceptor, const std::string& host, uint16_t port);

}  // namespace dynamo
