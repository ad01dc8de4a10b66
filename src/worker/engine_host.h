// The engine that a worker hosts, whatever it is: ours in this process, the mocker's, or one in another server.
//
// A worker makes any of them a member of the cluster (worker/worker_node.h): it needs to know what the engine is, has
// requests answered and prompts computed by it, and tells others what its cache holds. Which one a process has is
// chosen in apps, and nowhere else.
// Threads: start() and stop() from one; the rest from any, between the two.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/status.h"
#include "base/task.h"
#include "discovery/instance.h"
#include "engine/engine.h"
#include "generate/generator.h"
#include "generate/prefill_order.h"
#include "kv/kv_event.h"

namespace dynamo::worker {

// What an engine is, as the worker announces it.
struct EngineSpec {
  std::string model;          // served name
  std::string model_bundle;   // what frontends need of it: model_bundle::to_bytes
  uint32_t block_tokens = 0;  // tokens per KV block
  uint32_t max_batch_tokens = 0;
  uint32_t max_sequences = 0;   // running at once; 0: not known
  uint32_t context_length = 0;  // prompt and answer together, in tokens
  std::string transfer;         // KV transfer backends, comma-separated; empty: it moves no blocks
  std::vector<discovery::Role> roles = {discovery::Role::kAggregated};  // that it can take
};

// How busy it is, and how fast.
struct HostLoad {
  engine::EngineLoad engine;
  double transfer_tokens_per_second = 0;  // of KV, into other workers' pools, lately; 0: not known
};

// Told the fraction that is loaded, never less than before.
using LoadProgress = std::function<void(double done)>;

class EngineHost {
 public:
  virtual ~EngineHost() = default;  // Requires: stop() has returned, if start() was called.

  // Opens and loads the model under the worker's name. `events` is told, in order and on one thread at a time, what the
  // cache gains and loses; it outlives the host. Errors: those of the engine; nothing but stop() may be called then.
  virtual Status start(const std::string& name, kv::KvEventSink* events, const LoadProgress& progress) = 0;
  virtual const EngineSpec& spec() const = 0;

  // It must not be used after stop().
  virtual std::shared_ptr<Generator> generator() const = 0;
  virtual HostLoad load() const = 0;
  // Forgets, soon, all cached content that no request holds.
  virtual void clear_cache() = 0;

  // Computes a prompt for another worker and writes its KV blocks into that one's pool; returns when nothing more will
  // be written. Dropped before, the other is told by a notice when nothing more will be. Errors: kUnsupported (it moves
  // no blocks), the engine's.
  virtual Task<Result<PrefillReport>> prefill(PrefillOrder order) = 0;

  // Takes no new requests, lets those taken finish until `until` and fails the rest. May be called again.
  virtual void stop(Time until) = 0;
};

}  // namespace dynamo::worker
