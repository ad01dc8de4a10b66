// The router's inside: its workers, what they hold and do, and the choice among them.
// Private to the module. Threads: any; one lock.
#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/mutex.h"
#include "router/active_load.h"
#include "router/decision_log.h"
#include "router/guessed_blocks.h"
#include "router/metrics.h"
#include "router/router.h"
#include "router/waiting_line.h"
#include "wire/messages.pb.h"

namespace dynamo::router {

// What was counted of a worker's feed already.
struct FeedMetrics {
  prometheus::Counter* events = nullptr;
  prometheus::Counter* gaps = nullptr;
  prometheus::Counter* mismatches = nullptr;
  prometheus::Counter* snapshots = nullptr;
  KvFeed::Counts told;

  void tell(const KvFeed::Counts& now) {
    events->Increment(static_cast<double>(now.events - told.events));
    gaps->Increment(static_cast<double>(now.gaps - told.gaps));
    mismatches->Increment(static_cast<double>(now.mismatches - told.mismatches));
    snapshots->Increment(static_cast<double>(now.snapshots - told.snapshots));
    told = now;
  }
};

struct Worker {
  WorkerSlot slot;         // in the index and in the active load
  bool has_blocks = true;  // as far as its feed must tell; here, next to what every decision reads
  RoutedWorker routed;
  std::unique_ptr<KvFeed> feed;  // null: no events
  FeedMetrics feed_metrics;
  Time heartbeat_at{};
  // As the last heartbeat said, beyond what this router knew of: prompt tokens to compute there, and sequences.
  uint64_t unknown_tokens = 0;
  uint64_t unknown_sequences = 0;
  // The most that this router knew of at once since then. What a heartbeat counts may have ended here before it comes.
  WorkerLoad known;
  uint32_t places = 0;       // sequences that the last heartbeat says run there, if it says that no more can; else 0
  double prefill_rate = 0;   // tokens/s, as the last heartbeat said; 0: not known
  double transfer_rate = 0;  // tokens/s into other workers' pools
  std::optional<Time> prompt_at;  // when this router last had it compute a prompt
  uint32_t used_blocks = 0;       // as the last heartbeat said
  MetricLabels labels;
  prometheus::Gauge* active = nullptr;
  prometheus::Gauge* active_blocks = nullptr;
  prometheus::Gauge* pending_tokens = nullptr;
  prometheus::Gauge* index_blocks = nullptr;
  prometheus::Gauge* index_state = nullptr;
  std::vector<std::pair<std::string, prometheus::Counter*>> decisions;  // by reason
  prometheus::Counter* refusals = nullptr;
  prometheus::Counter* migrations = nullptr;
  prometheus::Counter* prompt_blocks = nullptr;
  prometheus::Counter* overlap_blocks = nullptr;
};

// Draws from any thread; the same seed gives the same draws (Steele et al. 2014, SplitMix64).
class SharedRandom {
 public:
  // 0: a seed from the system.
  explicit SharedRandom(uint64_t seed) : state_(seed != 0 ? seed : seed_of_system()) {}
  uint64_t draw() {
    uint64_t bits = state_.fetch_add(kStep, std::memory_order_relaxed) + kStep;
    bits = (bits ^ bits >> 30) * 0xbf58476d1ce4e5b9;
    bits = (bits ^ bits >> 27) * 0x94d049bb133111eb;
    return bits ^ bits >> 31;
  }

 private:
  static constexpr uint64_t kStep = 0x9e3779b97f4a7c15;
  static uint64_t seed_of_system() {
    std::random_device device;
    return uint64_t{device()} << 32 | device();
  }
  std::atomic<uint64_t> state_;
};

// A request that another router has sent.
struct Foreign {
  ActiveLoad::Ticket ticket = 0;
  Time since;
};

class Router::State : public std::enable_shared_from_this<Router::State> {
 public:
  State(RouterOptions options, RouterHooks hooks, Metrics* metrics, std::string name, const Clock* clock);

  // One attempt of a request at one worker, and where its prompt is computed if elsewhere, booked until it is dropped.
  class Booking {
   public:
    struct At {
      std::shared_ptr<Worker> worker;
      ActiveLoad::Ticket ticket = 0;
    };
    // `prefill` without a worker: the prompt is computed where it is decoded.
    Booking(std::shared_ptr<State> state, At at, At prefill, std::vector<PrefillPlace> prefill_at, std::string request,
            uint64_t partial_tokens)
        : state_(std::move(state)),
          at_(std::move(at)),
          prefill_(std::move(prefill)),
          prefill_at_(std::move(prefill_at)),
          request_(std::move(request)),
          partial_tokens_(partial_tokens) {}
    ~Booking() {
      free_prefill();
      state_->free(at_.ticket, request_, at_.worker->routed.instance);
    }
    Booking(const Booking&) = delete;
    Booking& operator=(const Booking&) = delete;

    const Worker& worker() const { return *at_.worker; }
    Generator* generator() const { return at_.worker->routed.generator.get(); }
    const std::vector<PrefillPlace>& prefill_at() const { return prefill_at_; }
    void drawn(uint64_t tokens) {
      const uint64_t block_tokens = state_->options_.block_tokens;
      const uint64_t blocks = (partial_tokens_ + tokens) / block_tokens;
      partial_tokens_ = (partial_tokens_ + tokens) % block_tokens;
      const bool is_first = !std::exchange(has_drawn_, true);
      if (is_first) free_prefill();
      if (is_first || blocks > 0) state_->progress(at_.ticket, request_, at_.worker->routed.instance, is_first, blocks);
    }

   private:
    void free_prefill() {
      const At prefill = std::exchange(prefill_, {});
      if (prefill.worker) state_->free(prefill.ticket, prefill_key(request_), prefill.worker->routed.instance);
    }

    std::shared_ptr<State> state_;
    At at_;
    At prefill_;  // until the first token
    std::vector<PrefillPlace> prefill_at_;
    std::string request_;
    uint64_t partial_tokens_;  // in the last, not yet full block
    bool has_drawn_ = false;
  };

  Status add_worker(RoutedWorker routed);
  void remove_worker(uint64_t instance);
  void on_events(uint64_t from, std::string_view message);
  void on_heartbeat(uint64_t from, std::string_view message);
  void on_router_notice(std::string_view message);
  void on_snapshot(uint64_t instance, uint64_t last_event, std::span<const kv::BlockHash> blocks);
  void on_no_snapshot(uint64_t instance, const Status& why);
  void set(RouterSettings settings);
  RouterSettings settings() const {
    MutexLock lock(mutex_);
    return settings_;
  }
  size_t workers() const {
    MutexLock lock(mutex_);
    return workers_.size();
  }
  size_t answering_workers() const {
    MutexLock lock(mutex_);
    return workers_.size() - prefill_workers_;
  }
  std::vector<WorkerView> view() const;
  Decisions decisions(size_t last, std::string_view request_id) const {
    MutexLock lock(mutex_);
    return decisions_.latest(last, request_id);
  }
  size_t in_flight() const {
    MutexLock lock(mutex_);
    return load_.in_flight();
  }

  // Chooses a worker and books the request there; waits while all are busy. `passed_over` got it before and failed.
  Task<Result<std::unique_ptr<Booking>>> book(const GenerateRequest* request, std::vector<uint64_t> passed_over,
                                              uint32_t attempt);
  uint32_t migration_limit() const { return options_.migration_limit; }
  Duration silence_limit() const { return options_.silence_limit; }
  const Clock* clock() const { return clock_; }
  uint64_t draw() { return random_.draw(); }

 private:
  enum class Pool { kPrefill, kDecode };
  static constexpr Duration kHeartbeatLife = std::chrono::seconds(5);  // an older one says nothing of now
  // A worker of one pool, chosen.
  struct Chosen {
    std::shared_ptr<Worker> worker;
    double prefill_blocks = 0;  // as the candidate's
    uint32_t overlap = 0;
    uint64_t uncached_tokens = 0;       // of the prompt
    uint64_t new_tokens = 0;            // of those, what no request in flight there computes
    std::vector<PrefillPlace> also_at;  // kPrefill: it, and the next best
    Decision decision;
    // For the log, written outside the lock.
    std::vector<std::pair<std::string, uint32_t>> overlaps;
    bool is_best_overlap = false;
  };
  // What a try at choosing came to.
  struct Tried {
    std::unique_ptr<Booking> booking;
    Status failure;  // if there is no booking
    bool is_busy = false;
    std::optional<Chosen> prefill;  // if the prompt is computed elsewhere
    std::optional<Chosen> decode;
  };
  Tried try_book(const GenerateRequest& request, const std::vector<kv::BlockHash>& chain,
                 const std::vector<uint64_t>& passed_over, uint32_t attempt) REQUIRES(mutex_);
  std::optional<Chosen> choose(Pool pool, const GenerateRequest& request, const std::vector<kv::BlockHash>& chain,
                               const std::vector<uint64_t>& passed_over, uint32_t attempt, const Chosen* prefill,
                               Tried* tried) REQUIRES(mutex_);
  void find_candidates(Pool pool, const GenerateRequest& request, const std::vector<kv::BlockHash>& chain,
                       const std::vector<uint64_t>& passed_over, const Chosen* prefill, Decision* decision,
                       bool* is_busy) REQUIRES(mutex_);
  std::string why_local(const Chosen& decode, const std::optional<Chosen>& prefill) const REQUIRES(mutex_);
  std::string why_sooner(const Chosen& decode, const Chosen& prefill) const REQUIRES(mutex_);
  static bool is_fresh(const Worker& worker, Time now) { return worker.heartbeat_at + kHeartbeatLife > now; }
  double waiting_tokens(const Worker& worker, Time now) const REQUIRES(mutex_);
  uint64_t new_tokens(const GenerateRequest& request, const Worker& worker) const REQUIRES(mutex_);
  uint64_t sequences(const Worker& worker, Time now) const REQUIRES(mutex_);
  static uint64_t places(const Worker& worker, Time now);
  ActiveLoad::Ticket add_load(Worker* worker, uint64_t prefill_tokens, const std::vector<kv::BlockHash>& chain)
      REQUIRES(mutex_);
  std::unique_ptr<Booking> take_booking(const GenerateRequest& request, const std::vector<kv::BlockHash>& chain,
                                        Tried* tried) REQUIRES(mutex_);
  void remember_candidates(Decision* decision) const REQUIRES(mutex_);
  std::string why_not(const Worker& worker) const REQUIRES(mutex_);
  bool is_busy(const Worker& worker, Time now) const REQUIRES(mutex_);
  void log(const Tried& tried, const GenerateRequest& request) const;
  void log(const Chosen& chosen, const GenerateRequest& request) const;
  static std::string prefill_key(const std::string& request) { return request + "#prefill"; }  // in notices
  void progress(ActiveLoad::Ticket ticket, const std::string& request, uint64_t instance, bool is_first,
                uint64_t blocks);
  void free(ActiveLoad::Ticket ticket, const std::string& request, uint64_t instance);
  void tell(wire::RouterNotice::Kind kind, const std::string& request, uint64_t instance, uint64_t prefill_tokens,
            uint64_t blocks) const;
  void count_decision(Worker* worker, std::string_view reason) REQUIRES(mutex_);
  void update_gauges(const Worker& worker) REQUIRES(mutex_);
  void update_feed(Worker* worker) REQUIRES(mutex_);
  Worker* find(uint64_t instance) REQUIRES(mutex_) {
    const auto found = workers_.find(instance);
    return found == workers_.end() ? nullptr : found->second.get();
  }

  const RouterOptions options_;
  const RouterHooks hooks_;
  Metrics* metrics_;
  const std::string name_;
  const Clock* clock_;
  SharedRandom random_;
  const uint64_t id_ = random_.draw();  // among routers
  mutable Mutex mutex_;
  std::unordered_map<uint64_t, std::shared_ptr<Worker>> workers_ GUARDED_BY(mutex_);  // by instance
  std::vector<std::shared_ptr<Worker>> by_name_ GUARDED_BY(mutex_);                   // "worker-2" before "worker-10"
  size_t prefill_workers_ GUARDED_BY(mutex_) = 0;
  std::unique_ptr<Policy> policy_ GUARDED_BY(mutex_);
  std::unique_ptr<Policy> prefill_policy_ GUARDED_BY(mutex_);
  PrefixIndex index_ GUARDED_BY(mutex_);
  GuessedBlocks guessed_ GUARDED_BY(mutex_);
  ActiveLoad load_ GUARDED_BY(mutex_);
  DecisionLog decisions_ GUARDED_BY(mutex_);
  RouterSettings settings_ GUARDED_BY(mutex_);
  WaitingLine line_ GUARDED_BY(mutex_);
  std::map<std::pair<uint64_t, std::string>, Foreign> foreign_ GUARDED_BY(mutex_);  // by router and request
  size_t index_slots_ GUARDED_BY(mutex_) = 0;              // slots given out so far are below this
  std::vector<MatchedWorker> matched_ GUARDED_BY(mutex_);  // these four are one decision's, kept for their memory
  std::vector<Candidate> candidates_ GUARDED_BY(mutex_);
  std::vector<uint32_t> held_ GUARDED_BY(mutex_);
  std::vector<uint32_t> in_use_ GUARDED_BY(mutex_);
  prometheus::Counter& ignored_;
  prometheus::Gauge& waiting_gauge_;
  prometheus::Gauge& distinct_blocks_;
  prometheus::Gauge& index_bytes_;
  prometheus::Gauge& evicted_blocks_;
  prometheus::Histogram& decision_seconds_;
};

}  // namespace dynamo::router
