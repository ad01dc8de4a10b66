// Sockets as backend "tcp" wants them: not blocking, without delay, and failing when the other machine is gone.
// Threads: one.  Private to the module.
#pragma once

#include <sys/socket.h>

#include <cstdint>
#include <string>

#include "base/clock.h"
#include "base/status.h"
#include "transfer/event_poll.h"

namespace dynamo::transfer {

struct SocketAddress {
  sockaddr_storage storage = {};
  socklen_t size = 0;

  // Errors: kInvalid (it is no number: a name, or an IPv6 address in brackets).
  static Result<SocketAddress> of_number(const std::string& host, uint16_t port);
  std::string host() const;  // as a number; empty if the system cannot say
  uint16_t port() const;
};

// On any free port of `address`, which it fills in. Errors: kUnavailable (not an address of this machine).
Result<Fd> listen_on(SocketAddress* address);
// Begins to connect; writable when that is over. Errors: kUnavailable.
Result<Fd> begin_connect(const SocketAddress& address);
// Returns: how a connect that is over has ended. Errors: kUnavailable.
Status connect_result(int socket);
// Whether a connected socket's two ends have one address.
bool is_to_this_host(int socket);
// `patience`: how long what was sent may stay unacknowledged by the other kernel.
void set_options(int socket, Duration patience);

}  // namespace dynamo::transfer
