// The Generator that chooses among workers.
//
// For each request: which worker holds how much of its prompt (PrefixIndex, fed by events), what each is working on (ActiveLoad), one
// cost, one policy. A worker that fails before the first token is replaced by another; a stream that breaks later goes on
// elsewhere from the tokens already given out, each of which the caller sees once. Rules: docs/reference/routing.md.
// Threads: every method from any thread; generate() and its Generations on a single-threaded executor.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/metrics.h"
#include "generate/generator.h"
#include "kv/block_hash.h"
#include "router/decision_log.h"
#include "router/kv_feed.h"
#include "router/policy.h"
#include "router/settings.h"

namespace dynamo::router {

// What a worker does of a request.
enum class Serves : uint8_t {
  kBoth,     // prefill and decode
  kPrefill,  // prompts, for workers that decode
  kDecode    // answers; prompts too if no other worker takes them
};

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

// What is known of a worker now; for /health and the dashboard.
struct WorkerView {
  uint64_t instance = 0;
  std::string name;
  std::string state;  // "ready", "connecting", "loading index", "busy"
  uint64_t active_requests = 0;
  uint64_t queued_tokens = 0;  // prompt tokens not computed yet, as this router knows
  uint64_t active_blocks = 0;
  uint64_t cached_blocks = 0;  // in the index
  uint32_t total_blocks = 0;
  std::string index_state;  // "proven", "catching up", "unknown", "partial", "guessed"
};

// What the router tells the outside. Called without locks, on any thread; must not block.
struct RouterHooks {
  std::function<void(uint64_t instance)> fetch_snapshot;        // then on_snapshot() or on_no_snapshot() must be called
  std::function<void(const std::string& notice)> tell_routers;  // null: no other router is kept in step
};

class Router final : public Generator {
 public:
  // `metrics` and `clock` outlive the router. `name` labels its metrics (the model's).
  Router(RouterOptions options, RouterHooks hooks, Metrics* metrics, std::string name,
         const Clock* clock = &Clock::steady());
  ~Router() override;

  // Errors: kInvalid (the instance is there already), kExhausted (as many workers as PrefixIndex takes).
  Status add_worker(RoutedWorker worker);
  // Requests that it has go on until they end or break. Unknown instances are ignored.
  void remove_worker(uint64_t instance);
  size_t workers() const;
  // Those that answer requests: all but kPrefill.
  size_t answering_workers() const;

  // Messages of the event bus, as they came (wire/messages.proto). `from` is the instance that the subject names, the only one of which
  // the message may speak. Unknown workers and broken messages are counted and ignored.
  void on_events(uint64_t from, std::string_view message);
  void on_heartbeat(uint64_t from, std::string_view message);
  void on_router_notice(std::string_view message);
  void on_snapshot(uint64_t instance, uint64_t last_event, std::span<const kv::BlockHash> blocks);
  void on_no_snapshot(uint64_t instance, const Status& why);

  void set(RouterSettings settings);
  RouterSettings settings() const;

  // Errors: kUnavailable (no worker, or none left that takes it), kExhausted (all busy for too long, or too many wait), kNotFound
  // (a named instance that is not there), and a worker's refusal of the request itself.
  Task<Result<std::unique_ptr<Generation>>> generate(GenerateRequest request) override;

  std::vector<WorkerView> view() const;
  // The last decisions, newest first; of one request if `request_id` is not empty.
  Decisions decisions(size_t last, std::string_view request_id) const;
  // Requests in flight that this router counts, its own and others'; 0 when all is over.
  size_t in_flight() const;

 private:
  friend class RoutedGeneration;
  class State;
  std::shared_ptr<State> state_;
};

}  // namespace dynamo::router
