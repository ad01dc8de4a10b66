// The Generator that chooses among workers.
//
// For each request: which worker holds how much of its prompt (PrefixIndex, fed by events), what each is working on
// (WorkerTable), one cost, one policy (Chooser). A worker that fails before the first token is replaced by another; a
// stream that breaks later goes on elsewhere from the tokens already given out, each of which the caller sees once.
// Rules: docs/reference/routing.md.
// Threads: every method from any thread; generate() and its Generations on a single-threaded executor. Which lock
// guards what: README.md.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/metrics.h"
#include "base/mutex.h"
#include "generate/generator.h"
#include "kv/block_hash.h"
#include "router/booking.h"
#include "router/chooser.h"
#include "router/decision_log.h"
#include "router/guessed_blocks.h"
#include "router/replica_sync.h"
#include "router/settings.h"
#include "router/shared_random.h"
#include "router/waiting_line.h"
#include "router/worker_table.h"

namespace dynamo::router {

// What the router tells the outside. Called without locks, on any thread; must not block.
struct RouterHooks {
  std::function<void(uint64_t instance)> fetch_snapshot;        // then on_snapshot() or on_no_snapshot() must be called
  std::function<void(const std::string& notice)> tell_routers;  // null: no other router is kept in step
};

class Router final : public Generator, public std::enable_shared_from_this<Router> {
 public:
  // `metrics` and `clock` outlive the router, which lives as long as a Generation of its does. `model` labels its
  // metrics.
  static std::shared_ptr<Router> create(RouterOptions options, RouterHooks hooks, Metrics* metrics, std::string model,
                                        const Clock* clock = &Clock::steady());

  // Errors: kInvalid (the instance is there already), kExhausted (as many workers as PrefixIndex takes).
  Status add_worker(RoutedWorker worker);
  // Requests that it has go on until they end or break. Unknown instances are ignored.
  void remove_worker(uint64_t instance);
  size_t workers() const;
  // Those that answer requests: all but kPrefill.
  size_t answering_workers() const;

  // Messages of the event bus, as they came (wire/bus_messages.h). `from` is the instance that the subject names, the
  // only one of which the message may speak. Unknown workers and broken messages are counted and ignored.
  void on_events(uint64_t from, std::string_view message);
  void on_heartbeat(uint64_t from, std::string_view message);
  void on_router_notice(std::string_view message);
  void on_snapshot(uint64_t instance, uint64_t last_event, std::span<const kv::BlockHash> blocks,
                   const BlocksByTier& lower = {});
  void on_no_snapshot(uint64_t instance, const Status& why);

  void set(RouterSettings settings);
  RouterSettings settings() const;
  const RouterOptions& options() const { return options_; }

  // Errors: kUnavailable (no worker, or none left that takes it), kExhausted (all busy for too long, or too many wait),
  // kNotFound (a named instance that is not there), and a worker's refusal of the request itself.
  Task<Result<std::unique_ptr<Generation>>> generate(GenerateRequest request) override;

  std::vector<WorkerView> view() const;
  // The last decisions, newest first; of one request if `request_id` is not empty.
  Decisions decisions(size_t last, std::string_view request_id) const;
  // Requests in flight that this router counts, its own and others'; 0 when all is over.
  size_t in_flight() const;

 private:
  friend class Booking;
  friend class RoutedGeneration;

  Router(RouterOptions options, RouterHooks hooks, Metrics* metrics, std::string model, const Clock* clock);

  // What came of trying to give a request a worker.
  struct Tried {
    std::unique_ptr<Booking> booking;
    Status failure;  // without a booking
    DecisionRecord prefill;
    DecisionRecord decode;
  };

  // Of RoutedGeneration: chooses a worker and books the request there; waits while all are busy.
  Task<Result<std::unique_ptr<Booking>>> book(Asked asked);
  // Returns: whether it is over; else the request must wait.
  bool try_book(const Asked& asked, Tried* tried) REQUIRES(mutex_);
  PromptOverlap overlap_of(const Asked& asked) REQUIRES(mutex_);
  void match_lower_tiers(const Worker& worker, std::span<const kv::BlockHash> chain, PromptOverlap* overlap)
      REQUIRES(mutex_);
  Flight start(Pool pool, const Asked& asked, uint64_t prefill_tokens, Chosen* chosen, DecisionRecord* record)
      REQUIRES(mutex_);

  // Of Booking.
  void progress(const Flight& flight, bool is_first_token, uint64_t blocks);
  void end(const Flight& flight);

  void tell_started(const Booking& booking, uint64_t blocks) const;

  std::shared_ptr<Worker> find(uint64_t instance) const;
  void fetch_snapshot_if(bool must_fetch, uint64_t instance) const;
  void show_index() const;

  const RouterOptions options_;
  const RouterHooks hooks_;
  Metrics* const metrics_;
  const std::string model_;
  const Clock* const clock_;
  const RouterMetrics counts_;
  SharedRandom random_;
  ReplicaSync replicas_;  // on_notice() under the lock
  PrefixIndex index_;     // has a lock of its own
  mutable Mutex mutex_;
  WorkerTable workers_ GUARDED_BY(mutex_);
  RouterSettings settings_ GUARDED_BY(mutex_);
  Chooser chooser_ GUARDED_BY(mutex_);
  GuessedBlocks guessed_ GUARDED_BY(mutex_);
  DecisionLog decisions_ GUARDED_BY(mutex_);
  WaitingLine line_;                                       // call_next() under the lock
  std::vector<MatchedWorker> matched_ GUARDED_BY(mutex_);  // one decision's, kept for its memory
};

}  // namespace dynamo::router
