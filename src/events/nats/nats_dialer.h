// Chooses the server: those of a list in turn, from the one after the last success that was lost.
// Threads: one at a time.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/random.h"
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

  // How long to wait before dialling again: not at all after a connection that lasted, else longer each time up to a second,
  // and random, so that a restarted server is not stormed.
  Duration pause();

  // The server dialled last.
  std::string server() const { return servers_[current_].address(); }
  // All of them, for people.
  std::string servers() const;

 private:
  NatsDialer();

  NatsOptions options_;
  std::vector<NatsServer> servers_;
  size_t current_ = 0;
  bool has_dialled_ = false;
  std::optional<Time> connected_since_;  // of the last success, until pause() has seen it
  std::chrono::milliseconds longest_pause_;
  std::minstd_rand random_{static_cast<uint32_t>(random_number())};
};

}  // namespace dynamo::events
