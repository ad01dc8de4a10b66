// A bad network between two processes: relays TCP connections, and delays, splits, stalls and cuts them.
//
// What happens to a connection is drawn from the seed, the connection's number and the direction: the same seed cuts at the same byte.
// Threads: one of its own; the functions may be called from any other.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>

#include "base/io_threads.h"

namespace dynamo::rpc {

// How bad it is. Connections keep the weather that they were made in.
struct Weather {
  uint32_t longest_piece = 64U << 10;          // bytes are passed on in pieces of 1 to so many
  std::chrono::microseconds longest_delay{0};  // before each piece, 0 to so long
  uint64_t cut_within = 0;  // each direction ends the connection after so many bytes or fewer; 0: never
};

class BadNetworkProxy {
 public:
  // Passes on to 127.0.0.1:`target_port`.
  BadNetworkProxy(uint16_t target_port, uint32_t seed);
  ~BadNetworkProxy();
  BadNetworkProxy(const BadNetworkProxy&) = delete;
  BadNetworkProxy& operator=(const BadNetworkProxy&) = delete;

  uint16_t port() const;  // where it listens, on 127.0.0.1
  uint32_t cuts() const;  // connections ended by `cut_within`

  void set(Weather weather);
  // Connections stay and nothing passes, not even their end, until it is set otherwise.
  void stall(bool to_server, bool to_asker);
  void cut_all();

 private:
  struct State;
  struct Connection;

  IoThreads io_{1};
  std::shared_ptr<State> state_;
};

}  // namespace dynamo::rpc
