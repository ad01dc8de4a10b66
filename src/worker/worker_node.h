// A worker in the cluster: an engine that is named, announced, reached, and tells what it holds and how busy it is.
//
// Order of start: a port to listen on, lease and name, engine, first heartbeat, announcement; of stop: announcement
// gone, running requests finish, request plane, engine.
// Threads: listen(), start() and stop() from one that is no I/O thread; instance() from any.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include "base/clock.h"
#include "base/io_threads.h"
#include "base/status.h"
#include "discovery/instance.h"
#include "discovery/registry.h"
#include "events/event_bus.h"
#include "worker/engine_host.h"

namespace dynamo::worker {

struct NodeOptions {
  std::string name_space = "dynamo";
  discovery::Role role = discovery::Role::kAggregated;
  std::string listen_host = "127.0.0.1";
  std::string announced_host = "127.0.0.1";  // what others connect to; a name, or a number without brackets
  uint16_t port = 0;                         // of the request plane; 0: any free one
  std::string version;
  std::chrono::seconds lease_time{10};
  std::chrono::milliseconds heartbeat{1000};
  // A worker changes its role when it has had no request for so long: frontends have heard by then that it wants none.
  std::chrono::milliseconds quiet_before_role_change{500};
  // Told the name that it started with and the one that a change of its role gave it, on a thread of the node's. Null:
  // nobody minds.
  std::function<void(const std::string& first, const std::string& now)> on_renamed;
};

class WorkerNode {
 public:
  // Listens for requests, which wait until it is started. `io` outlives the node. Errors: as listen_on (base/listen.h).
  static Result<std::unique_ptr<WorkerNode>> listen(NodeOptions options, IoThreads* io);
  ~WorkerNode();  // Requires: stop() has returned.
  WorkerNode(const WorkerNode&) = delete;
  WorkerNode& operator=(const WorkerNode&) = delete;

  // Claims a name, starts the engine and announces it. Registry, bus and host outlive the node. Blocks.
  // Errors: those of host->start(), as it gives them; kDeadline, kUnavailable (registry), kInvalid (what the host says
  // of itself cannot be announced, or it cannot take the role). stop() is to be called then too.
  Status start(discovery::Registry* registry, events::EventBus* bus, EngineHost* host, const LoadProgress& progress,
               Time until);

  discovery::WorkerInstance instance() const;
  // Blocks. May be called again.
  void stop(Time until);

 private:
  struct State;
  explicit WorkerNode(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace dynamo::worker
