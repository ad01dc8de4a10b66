// A worker in the cluster: named, announced, listening, telling what it holds and how busy it is.
//
// Around any engine: ours, the mocker's, or one in another server. Order of start: lease and name, engine, request plane, first
// heartbeat, announcement; of stop: announcement gone, running requests finish, engine, request plane.
// Threads: start() and stop() from one thread that is no I/O thread.
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
#include "engine/engine.h"
#include "events/event_bus.h"
#include "generate/generator.h"
#include "kv/kv_event.h"

namespace dynamo::wire {
class Prefill;
}

namespace dynamo::worker {

struct NodeOptions {
  std::string name_space = "dynamo";  // DYN_NAMESPACE
  discovery::Role role = discovery::Role::kAggregated;
  std::string listen_host = "127.0.0.1";
  std::string announced_host = "127.0.0.1";  // what others connect to; a name, or a number without brackets
  uint16_t port = 0;                         // of the request plane; 0: any free one
  std::string version;
  std::chrono::seconds lease_time{10};
  std::chrono::milliseconds heartbeat{1000};
};

// What the node needs of an engine.
struct HostedEngine {
  std::shared_ptr<Generator> generator;
  std::function<engine::EngineLoad()> load;
  std::function<void()> clear_blocks;
  std::function<Task<std::string>(wire::Prefill)> prefill;  // null: it computes no prompts for others
  std::function<double()> transfer_tokens_per_second;       // null: it moves none
  std::string transfer;                                     // KV transfer backends, comma-separated
  std::function<void(const std::string& name)> renamed;     // the node has this name from now on; null: nobody minds
  std::function<void(Time until)> stop;
  std::string model;         // served name
  std::string model_bundle;  // model_bundle::to_bytes
  uint32_t block_tokens = 0;
  uint32_t max_batch_tokens = 0;
  uint32_t max_sequences = 0;  // running at once; 0: not known
  uint32_t context_length = 0;
};

class WorkerNode {
 public:
  // `make_engine` gets the node's name and the sink for its KV events. Registry, bus and I/O threads outlive the node.
  // Errors: those of make_engine; kDeadline, kUnavailable (registry, port).
  static Result<std::unique_ptr<WorkerNode>> start(
      NodeOptions options, discovery::Registry* registry, events::EventBus* bus, IoThreads* io, Time until,
      const std::function<Result<HostedEngine>(const std::string& name, kv::KvEventSink* events)>& make_engine);
  virtual ~WorkerNode() = default;  // Requires: stop() has returned.

  virtual const discovery::WorkerInstance& instance() const = 0;
  virtual void stop(Time until) = 0;
};

// The first free name of a role ("worker-1", "prefill-worker-1", ...), held as long as the lease. Waits for a registry that is
// away, for a minute at most. Errors: as Lease::claim.
Result<std::string> claim_name(discovery::Registry* registry, discovery::Lease* lease, const std::string& name_space,
                               discovery::Role role, uint64_t instance, Time until);

}  // namespace dynamo::worker
