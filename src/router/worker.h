// A worker as the router knows it.  Private to the module.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "generate/generator.h"
#include "router/kv_feed.h"
#include "router/metrics.h"
#include "router/prefix_index.h"
#include "router/worker_report.h"

namespace dynamo::router {

// What a worker does of a request.
enum class Serves : uint8_t {
  kBoth,     // prefill and decode
  kPrefill,  // prompts, for workers that decode
  kDecode    // answers; prompts too if no other worker takes them
};

// What it is: as who adds it says.
struct RoutedWorker {
  uint64_t instance = 0;  // not 0
  std::string name;       // "worker-1"
  Serves serves = Serves::kBoth;
  std::string address;  // "host:port", where others reach it for prompts; kPrefill
  std::shared_ptr<Generator> generator;
  std::function<bool()> is_reachable;  // null: always
  uint32_t total_blocks = 0;           // of its cache; 0: not known
  uint32_t vocab_size = 0;             // its tokens are below this, or it has failed the request; 0: not known
  uint32_t max_sequences = 0;          // that run there at once; 0: not known
  bool has_events = false;             // it will be fed; until its first snapshot it gets no requests
};

// Whether it takes requests now.
enum class WorkerState : uint8_t {
  kReady,
  kConnecting,    // not reachable
  kLoadingIndex,  // its first snapshot has not come
  kBusy           // above the busy threshold
};
std::string_view state_name(WorkerState state);
// How sure the index is of it. None: what it holds is guessed.
std::string_view index_name(std::optional<KvFeed::State> state);

// What is known of a worker now, for whoever asks.
struct WorkerView {
  uint64_t instance = 0;
  std::string name;
  WorkerState state = WorkerState::kReady;
  uint64_t active_requests = 0;
  uint64_t queued_tokens = 0;  // prompt tokens not computed yet, as this router knows
  uint64_t active_blocks = 0;
  uint64_t cached_blocks = 0;  // in the index
  uint32_t total_blocks = 0;
  std::optional<KvFeed::State> index_state;  // none: what it holds is guessed
};

// Its entry in the worker table. A booking keeps it beyond its time in the table.
// Threads: `routed` and `slot` stay as they are; `feed` has a lock inside; the rest is under the lock of the table.
struct Worker {
  Worker(RoutedWorker what, WorkerSlot where, Metrics* counting, const std::string& model)
      : slot(where), routed(std::move(what)), metrics(counting, model, routed.name) {}

  bool has_blocks() const { return !feed || feed->has_blocks(); }
  bool is_reachable() const { return !routed.is_reachable || routed.is_reachable(); }

  const WorkerSlot slot;       // in the index and in the active load
  std::optional<KvFeed> feed;  // none: no events
  const RoutedWorker routed;
  WorkerReport report;
  std::optional<Time> prompt_at;  // when this router last had it compute a prompt
  WorkerMetrics metrics;
};

}  // namespace dynamo::router
