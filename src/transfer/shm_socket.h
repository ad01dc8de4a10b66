// Unix sockets by which ends of one host find each other and hand over memory. Abstract addresses: they need no file, they end with
// their process however that ends, and they are seen only where memory can be shared (transfer/host.h).
// Threads: one. Nothing blocks.  Private to the module.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "transfer/event_poll.h"

namespace dynamo::transfer {

// Errors: kUnavailable.
Result<Fd> listen_at(std::string_view abstract_address);
// Errors: kUnavailable (nobody listens there), kExhausted (its backlog is full; again later).
Result<Fd> connect_to(std::string_view abstract_address);

// Whole messages. Errors: kUnavailable (hung up, or no room).
Status send_message(int socket, std::string_view bytes, std::span<const int> fds = {});
struct SocketMessage {
  std::string bytes;
  std::vector<Fd> fds;
};
// Errors: kUnavailable (hung up), kExhausted (nothing there now).
Result<SocketMessage> receive_message(int socket);

}  // namespace dynamo::transfer
