// Chooses the server: those of a list in turn, from the one after the last success that was lost.
// Threads: one at a time.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "events/nats/nats_connection.h"
#include "events/nats/nats_options.h"

namespace dynamo::events {

class NatsDialer {
 public:
  // Errors: kInvalid: an address is wrong or there is none.
  static Result<NatsDialer> make(NatsOptions options);

  // Tries each server once, for `timeout` at most. Errors: as NatsConnection::open; kInvalid if any server says so.
  Result<std::unique_ptr<NatsConnection>> dial(std::chrono::milliseconds timeout,
                                               const NatsConnection::OnClosed& on_closed);

  // The server dialled last.
  std::string server() const { return servers_[current_].address(); }
  // All of them, for people.
  std::string servers() const;

 private:
  NatsDialer() = default;

  NatsOptions options_;
  std::vector<NatsServer> servers_;
  size_t current_ = 0;
  bool has_dialled_ = false;
};

}  // namespace dynamo::events
