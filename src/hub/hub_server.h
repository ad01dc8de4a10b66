// The embedded hub: on one machine it stands in for etcd and NATS, over one TCP port.
//
// Its memory is its only store: when it stops, keys and messages are gone, and clients announce theirs again when it is back.
// Threads: all state belongs to one I/O thread; the methods may be called from any other. Protocol: docs/reference/hub.md.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

#include "base/clock.h"
#include "base/io_threads.h"
#include "base/status.h"
#include "hub/hub_core.h"
#include "hub/hub_protocol.h"

namespace dynamo::hub {

struct HubOptions {
  std::string host = "127.0.0.1";                      // address to listen on
  uint16_t port = 0;                                   // 0: any free port
  HubLimits limits;                                    // of memory
  std::chrono::milliseconds max_silence{kMaxSilence};  // a client unheard for longer is cut off
};

class HubServer {
 public:
  // Listens and serves. `io` outlives the server and runs until stop() has returned.
  // Errors: as Listener::open (base/listener.h).
  static Result<std::unique_ptr<HubServer>> listen(HubOptions options, IoThreads* io);
  ~HubServer();  // Requires: stop() has returned.
  HubServer(const HubServer&) = delete;
  HubServer& operator=(const HubServer&) = delete;

  uint16_t port() const;

  // Closes every connection and forgets all keys. Blocks until that is done; may be called again. Not from an I/O thread.
  void stop();

 private:
  struct State;
  explicit HubServer(std::shared_ptr<State> state);
  std::shared_ptr<State> state_;
};

}  // namespace dynamo::hub
