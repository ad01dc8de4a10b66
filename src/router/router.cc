#include "router/router.h"

#include <algorithm>
#include <array>
#include <map>
#include <random>
#include <unordered_map>

#include <fmt/format.h>

#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "base/log.h"
#include "base/mutex.h"
#include "router/active_load.h"
#include "router/decision_log.h"
#include "router/guessed_blocks.h"
#include "router/metrics.h"
#include "router/policies/library.h"
#include "router/waiting_line.h"
#include "wire/messages.pb.h"

namespace dynamo::router {
namespace {

namespace asio = boost::asio;

constexpr Duration kHeartbeatLife = std::chrono::seconds(5);  // an older one says nothing of how busy a worker is
constexpr size_t kRememberedCandidates = 64;                  // of a decision
constexpr Duration kForeignLife = std::chrono::minutes(10);   // another router's request that never ended

uint64_t random_bits() {
  thread_local std::mt19937_64 random([] {
    std::random_device device;
    return (uint64_t{device()} << 32) | device();
  }());
  return random();
}

// A worker's own failing, as opposed to one of the request: another worker may do better.
bool is_of_worker(const Status& failure) {
  return failure.code() == Code::kUnavailable || failure.code() == Code::kExhausted ||
         failure.code() == Code::kInternal || failure.code() == Code::kCorrupt;
}

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
  uint32_t used_blocks = 0;  // as the last heartbeat said
  MetricLabels labels;
  prometheus::Gauge* active = nullptr;
  prometheus::Gauge* active_blocks = nullptr;
  prometheus::Gauge* pending_tokens = nullptr;
  prometheus::Gauge* index_blocks = nullptr;
  prometheus::Gauge* index_state = nullptr;
  std::vector<std::pair<std::string_view, prometheus::Counter*>> decisions;  // by reason
  prometheus::Counter* refusals = nullptr;
  prometheus::Counter* migrations = nullptr;
  prometheus::Counter* prompt_blocks = nullptr;
  prometheus::Counter* overlap_blocks = nullptr;
};

// How workers are listed: "worker-2" before "worker-10".
std::pair<size_t, std::string_view> order_of(const Worker& worker) {
  return {worker.routed.name.size(), worker.routed.name};
}

// The library's policy, or without one the mode's.
std::unique_ptr<Policy> policy_of(const RouterOptions& options, Metrics* metrics, const std::string& model) {
  auto builtin = make_policy(options.mode, random_bits());
  if (!options.library) return builtin;
  CHECK(options.mode != Mode::kDirect);  // it does not choose where the library cannot
  return options.library->make_policy(options.block_tokens, std::move(builtin),
                                      &metrics->counter(kPolicyFaults, {{"model", model}}));
}

// A request that another router has sent.
struct Foreign {
  ActiveLoad::Ticket ticket = 0;
  Time since;
};

}  // namespace

class Router::State : public std::enable_shared_from_this<Router::State> {
 public:
  State(RouterOptions options, RouterHooks hooks, Metrics* metrics, std::string name, const Clock* clock)
      : options_(std::move(options)),
        hooks_(std::move(hooks)),
        metrics_(metrics),
        name_(std::move(name)),
        clock_(clock),
        policy_(policy_of(options_, metrics, name_)),
        index_(PrefixIndex::Options{.max_bytes = options_.index_bytes}),
        guessed_(&index_, options_.guess_lifetime),
        decisions_(options_.remembered_decisions),
        settings_(options_.settings),
        ignored_(metrics->counter(kIgnored, {{"model", name_}})),
        waiting_gauge_(metrics->gauge(kWaiting, {{"model", name_}})),
        distinct_blocks_(metrics->gauge(kIndexDistinct, {{"model", name_}})),
        index_bytes_(metrics->gauge(kIndexBytes, {{"model", name_}})),
        evicted_blocks_(metrics->gauge(kIndexEvicted, {{"model", name_}})),
        decision_seconds_(metrics->histogram(kDecisionSeconds, {{"model", name_}})) {}

  // One attempt of a request at one worker, booked until it is dropped.
  class Booking {
   public:
    Booking(std::shared_ptr<State> state, std::shared_ptr<Worker> worker, ActiveLoad::Ticket ticket,
            std::string request, uint64_t partial_tokens)
        : state_(std::move(state)),
          worker_(std::move(worker)),
          ticket_(ticket),
          request_(std::move(request)),
          partial_tokens_(partial_tokens) {}
    ~Booking() { state_->free(ticket_, request_, worker_->routed.instance); }
    Booking(const Booking&) = delete;
    Booking& operator=(const Booking&) = delete;

    const Worker& worker() const { return *worker_; }
    Generator* generator() const { return worker_->routed.generator.get(); }
    void drawn(uint64_t tokens) {
      const uint64_t block_tokens = state_->options_.block_tokens;
      const uint64_t blocks = (partial_tokens_ + tokens) / block_tokens;
      partial_tokens_ = (partial_tokens_ + tokens) % block_tokens;
      const bool is_first = !std::exchange(has_drawn_, true);
      if (is_first || blocks > 0) state_->progress(ticket_, request_, worker_->routed.instance, is_first, blocks);
    }

   private:
    std::shared_ptr<State> state_;
    std::shared_ptr<Worker> worker_;
    ActiveLoad::Ticket ticket_;
    std::string request_;
    uint64_t partial_tokens_;  // in the last, not yet full block
    bool has_drawn_ = false;
  };

  class Routed;

  Status add_worker(RoutedWorker routed);
  void remove_worker(uint64_t instance);
  void on_events(std::string_view message);
  void on_heartbeat(std::string_view message);
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
  std::vector<WorkerView> view() const;
  boost::json::array explain(size_t last, std::string_view request_id) const {
    MutexLock lock(mutex_);
    return decisions_.to_json(last, request_id);
  }
  size_t in_flight() const {
    MutexLock lock(mutex_);
    return load_.in_flight();
  }

  // Chooses a worker and books the request there; waits while all are busy. `passed_over` got it before and failed.
  Task<Result<std::unique_ptr<Booking>>> book(const GenerateRequest* request, std::vector<uint64_t> passed_over,
                                              uint32_t attempt);
  uint32_t migration_limit() const { return options_.migration_limit; }
  Duration first_token_timeout() const { return options_.first_token_timeout; }
  Time now() const { return clock_->now(); }

 private:
  // What a try at choosing came to.
  struct Tried {
    std::unique_ptr<Booking> booking;
    Status failure;  // if there is no booking
    bool is_busy = false;
    // For the log, written outside the lock.
    std::vector<std::pair<std::string, uint32_t>> overlaps;
    std::string chosen;
    uint32_t overlap = 0;
    bool is_best_overlap = false;
    uint32_t prompt_tokens = 0;
    // For the other routers.
    uint64_t instance = 0;
    uint64_t prefill_tokens = 0;
  };
  Tried try_book(const GenerateRequest& request, const std::vector<kv::BlockHash>& chain,
                 const std::vector<uint64_t>& passed_over, uint32_t attempt) REQUIRES(mutex_);
  void find_candidates(const GenerateRequest& request, const std::vector<kv::BlockHash>& chain,
                       const std::vector<uint64_t>& passed_over, Decision* decision, bool* is_busy) REQUIRES(mutex_);
  void remember_candidates(Decision* decision) const REQUIRES(mutex_);
  std::string why_not(const Worker& worker) const REQUIRES(mutex_);
  bool is_busy(const Worker& worker) const REQUIRES(mutex_);
  void log(const Tried& tried, const GenerateRequest& request) const;
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
  const uint64_t id_ = random_bits();  // among routers
  mutable Mutex mutex_;
  std::unordered_map<uint64_t, std::shared_ptr<Worker>> workers_ GUARDED_BY(mutex_);  // by instance
  std::vector<std::shared_ptr<Worker>> by_name_ GUARDED_BY(mutex_);                   // "worker-2" before "worker-10"
  std::unique_ptr<Policy> policy_ GUARDED_BY(mutex_);
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

// ---- workers and what they hold ----

Status Router::State::add_worker(RoutedWorker routed) {
  CHECK(routed.instance != 0 && routed.generator);
  const uint64_t instance = routed.instance;
  bool must_fetch = false;
  {
    MutexLock lock(mutex_);
    CHECK(!workers_.contains(instance));
    const auto slot = index_.add_worker();
    if (!slot.is_ok()) return slot.status();
    load_.add_worker(*slot);
    auto worker = std::make_shared<Worker>();
    worker->slot = *slot;
    index_slots_ = std::max<size_t>(index_slots_, slot->index + 1);
    worker->labels = {{"model", name_}, {"worker", routed.name}};
    worker->active = &metrics_->gauge(kActive, worker->labels);
    worker->active_blocks = &metrics_->gauge(kActiveBlocks, worker->labels);
    worker->pending_tokens = &metrics_->gauge(kPendingTokens, worker->labels);
    worker->index_blocks = &metrics_->gauge(kIndexBlocks, worker->labels);
    worker->index_state = &metrics_->gauge(kIndexState, worker->labels);
    worker->refusals = &metrics_->counter(kRefusals, worker->labels);
    worker->migrations = &metrics_->counter(kMigrations, worker->labels);
    worker->prompt_blocks = &metrics_->counter(kPromptBlocks, worker->labels);
    worker->overlap_blocks = &metrics_->counter(kOverlapBlocks, worker->labels);
    worker->feed_metrics = {.events = &metrics_->counter(kEvents, worker->labels),
                            .gaps = &metrics_->counter(kGaps, worker->labels),
                            .mismatches = &metrics_->counter(kMismatches, worker->labels),
                            .snapshots = &metrics_->counter(kSnapshots, worker->labels),
                            .told = {}};
    if (routed.has_events && options_.uses_events) {
      worker->feed = std::make_unique<KvFeed>(&index_, worker->slot);
      must_fetch = worker->feed->start();
      worker->has_blocks = worker->feed->has_blocks();
    }
    worker->routed = std::move(routed);
    update_gauges(*worker);
    by_name_.insert(
        std::ranges::upper_bound(by_name_, order_of(*worker), {}, [](const auto& one) { return order_of(*one); }),
        worker);
    workers_.emplace(instance, std::move(worker));
    line_.call_next();
  }
  if (must_fetch && hooks_.fetch_snapshot) hooks_.fetch_snapshot(instance);
  return {};
}

void Router::State::remove_worker(uint64_t instance) {
  MutexLock lock(mutex_);
  const auto found = workers_.find(instance);
  if (found == workers_.end()) return;
  const Worker& worker = *found->second;
  guessed_.remove_worker(worker.slot);
  index_.remove_worker(worker.slot);
  load_.remove_worker(worker.slot);
  for (auto* gauge :
       {worker.active, worker.active_blocks, worker.pending_tokens, worker.index_blocks, worker.index_state})
    gauge->Set(0);
  std::erase(by_name_, found->second);
  workers_.erase(found);
}

void Router::State::update_feed(Worker* worker) {
  worker->has_blocks = worker->feed->has_blocks();
  worker->feed_metrics.tell(worker->feed->counts());
  worker->index_blocks->Set(static_cast<double>(index_.blocks(worker->slot)));
  distinct_blocks_.Set(static_cast<double>(index_.distinct_blocks()));
  index_bytes_.Set(static_cast<double>(index_.bytes()));
  evicted_blocks_.Set(static_cast<double>(index_.counts().evicted));
  worker->index_state->Set(static_cast<double>(worker->feed->state()));
}

void Router::State::on_events(std::string_view message) {
  wire::KvEvents events;
  if (!events.ParseFromArray(message.data(), static_cast<int>(message.size()))) return ignored_.Increment();
  bool must_fetch = false;
  {
    MutexLock lock(mutex_);
    Worker* worker = find(events.instance());
    if (worker == nullptr || !worker->feed) return ignored_.Increment();
    must_fetch = worker->feed->on_events(events);
    update_feed(worker);
  }
  if (must_fetch && hooks_.fetch_snapshot) hooks_.fetch_snapshot(events.instance());
}

void Router::State::on_heartbeat(std::string_view message) {
  wire::Heartbeat heartbeat;
  if (!heartbeat.ParseFromArray(message.data(), static_cast<int>(message.size()))) return ignored_.Increment();
  bool must_fetch = false;
  {
    MutexLock lock(mutex_);
    Worker* worker = find(heartbeat.instance());
    if (worker == nullptr) return ignored_.Increment();
    worker->heartbeat_at = clock_->now();
    worker->used_blocks = heartbeat.used_blocks();
    if (worker->feed) {
      must_fetch = worker->feed->on_heartbeat(heartbeat);
      update_feed(worker);
    }
    if (!is_busy(*worker)) line_.call_next();
  }
  if (must_fetch && hooks_.fetch_snapshot) hooks_.fetch_snapshot(heartbeat.instance());
}

void Router::State::on_snapshot(uint64_t instance, uint64_t last_event, std::span<const kv::BlockHash> blocks) {
  bool must_fetch = false;
  {
    MutexLock lock(mutex_);
    Worker* worker = find(instance);
    if (worker == nullptr || !worker->feed) return;
    must_fetch = worker->feed->on_snapshot(last_event, blocks);
    update_feed(worker);
    line_.call_next();
  }
  LOG(debug, "snapshot taken over", {"instance", fmt::format("{:016x}", instance)}, {"blocks", blocks.size()});
  if (must_fetch && hooks_.fetch_snapshot) hooks_.fetch_snapshot(instance);
}

void Router::State::on_no_snapshot(uint64_t instance, const Status& why) {
  {
    MutexLock lock(mutex_);
    Worker* worker = find(instance);
    if (worker == nullptr || !worker->feed) return;
    worker->feed->on_no_snapshot();
  }
  LOG(warn, "no snapshot", {"instance", fmt::format("{:016x}", instance)}, {"why", why.to_string()});
}

// ---- other routers ----

void Router::State::tell(wire::RouterNotice::Kind kind, const std::string& request, uint64_t instance,
                         uint64_t prefill_tokens, uint64_t blocks) const {
  if (!hooks_.tell_routers) return;
  wire::RouterNotice notice;
  notice.set_router(id_);
  notice.set_request(request);
  notice.set_instance(instance);
  notice.set_kind(kind);
  notice.set_prefill_tokens(static_cast<uint32_t>(prefill_tokens));
  notice.set_decode_blocks(static_cast<uint32_t>(blocks));
  hooks_.tell_routers(notice.SerializeAsString());
}

void Router::State::on_router_notice(std::string_view message) {
  wire::RouterNotice notice;
  if (!notice.ParseFromArray(message.data(), static_cast<int>(message.size()))) return ignored_.Increment();
  if (notice.router() == id_) return;
  MutexLock lock(mutex_);
  const Time now = clock_->now();
  const auto key = std::pair(notice.router(), notice.request());
  switch (notice.kind()) {
    case wire::RouterNotice::kAdd: {
      const Worker* worker = find(notice.instance());
      if (worker == nullptr) return;  // of another model, most likely
      if (const auto old = foreign_.find(key); old != foreign_.end()) load_.free(old->second.ticket);
      const ActiveLoad::Ticket ticket = load_.add(worker->slot, notice.prefill_tokens(), {});
      load_.grow(ticket, notice.decode_blocks());
      foreign_[key] = {ticket, now};
      break;
    }
    case wire::RouterNotice::kPrefillDone:
      if (const auto found = foreign_.find(key); found != foreign_.end()) load_.prefill_done(found->second.ticket);
      break;
    case wire::RouterNotice::kFree:
      if (const auto found = foreign_.find(key); found != foreign_.end()) {
        load_.free(found->second.ticket);
        foreign_.erase(found);
      }
      break;
    default:
      ignored_.Increment();
  }
  std::erase_if(foreign_, [&](const auto& one) REQUIRES(mutex_) {
    if (one.second.since + kForeignLife > now) return false;
    load_.free(one.second.ticket);
    return true;
  });
}

// ---- choosing ----

void Router::State::set(RouterSettings settings) {
  MutexLock lock(mutex_);
  settings_ = settings;
  line_.call_next();
}

bool Router::State::is_busy(const Worker& worker) const {
  if (!settings_.busy_threshold || worker.routed.total_blocks == 0) return false;
  uint64_t used = load_.of(worker.slot).blocks;
  if (worker.heartbeat_at + kHeartbeatLife > clock_->now()) used = std::max<uint64_t>(used, worker.used_blocks);
  return static_cast<double>(used) > *settings_.busy_threshold * worker.routed.total_blocks;
}

// Why a worker may not get requests now, busyness aside; empty if it may.
std::string Router::State::why_not(const Worker& worker) const {
  if (worker.routed.is_reachable && !worker.routed.is_reachable()) return "not connected";
  if (!worker.has_blocks) return "its blocks are not known yet";
  return {};
}

// Matched blocks by slot.
void scatter(const std::vector<MatchedWorker>& matched, size_t slots, std::vector<uint32_t>* by_slot) {
  by_slot->assign(slots, 0);
  for (const MatchedWorker& one : matched) (*by_slot)[one.worker.index] = one.blocks;
}

void Router::State::find_candidates(const GenerateRequest& request, const std::vector<kv::BlockHash>& chain,
                                    const std::vector<uint64_t>& passed_over, Decision* decision, bool* is_any_busy) {
  const double weight = request.routing.overlap_weight.value_or(settings_.overlap_weight);
  const double block_tokens = options_.block_tokens;
  index_.match(chain, &matched_);
  scatter(matched_, index_slots_, &held_);
  load_.match(chain, &in_use_);
  candidates_.clear();
  for (const auto& worker : by_name_) {
    const uint64_t instance = worker->routed.instance;
    std::string why = why_not(*worker);
    if (why.empty() && std::ranges::find(passed_over, instance) != passed_over.end())
      why = "failed this request before";
    if (why.empty() && is_busy(*worker)) {
      why = "busy";
      *is_any_busy = true;
    }
    if (!why.empty()) {
      decision->left_out.push_back(worker->routed.name + ": " + why);
      continue;
    }
    const WorkerLoad& load = load_.of(worker->slot);
    Candidate& one = candidates_.emplace_back();
    one.name = worker->routed.name;
    one.instance = instance;
    one.active_requests = load.requests;
    one.overlap_blocks = held_[worker->slot.index];
    const uint32_t shared = in_use_[worker->slot.index];
    const double uncached = static_cast<double>(request.prompt.size()) - one.overlap_blocks * block_tokens;
    one.prefill_blocks = (static_cast<double>(load.prefill_tokens) + std::max(uncached, 0.0)) / block_tokens;
    one.decode_blocks = static_cast<double>(load.blocks + chain.size() - shared);
    one.cost = weight * one.prefill_blocks + one.decode_blocks;
  }
  decision->overlap_weight = weight;
}

// Of many candidates those with the lowest costs: the rest would fill the log and nobody would read them. Which ones is told by
// counting costs in bins; sorting a thousand would take longer than choosing among them.
void Router::State::remember_candidates(Decision* decision) const {
  constexpr size_t kBins = 256;
  std::array<uint32_t, kBins> in_bin{};
  double least = 0;
  double scale = 0;  // bins per unit of cost
  size_t last_bin = 0;
  size_t room = kRememberedCandidates;  // in the last bin
  const auto bin_of = [&](const Candidate& one) { return static_cast<size_t>((one.cost - least) * scale); };
  if (candidates_.size() > kRememberedCandidates) {
    const auto [low, high] = std::ranges::minmax(candidates_, {}, &Candidate::cost);
    least = low.cost;
    if (high.cost > least) scale = (kBins - 1) / (high.cost - least);
    for (const Candidate& one : candidates_) ++in_bin[bin_of(one)];
    for (; in_bin[last_bin] < room; ++last_bin) room -= in_bin[last_bin];
  }
  decision->candidates = candidates_.size();
  decision->considered.reserve(std::min(candidates_.size(), kRememberedCandidates));
  for (const Candidate& one : candidates_) {
    const size_t bin = bin_of(one);
    if (bin > last_bin || (bin == last_bin && room == 0)) continue;
    if (bin == last_bin) --room;
    decision->considered.push_back({std::string(one.name), one.overlap_blocks, one.prefill_blocks, one.decode_blocks,
                                    one.cost, one.active_requests});
  }
}

Router::State::Tried Router::State::try_book(const GenerateRequest& request, const std::vector<kv::BlockHash>& chain,
                                             const std::vector<uint64_t>& passed_over, uint32_t attempt) {
  const Time started = Clock::steady().now();
  if (!options_.uses_events) guessed_.expire(clock_->now());
  Tried tried;
  Decision decision;
  find_candidates(request, chain, passed_over, &decision, &tried.is_busy);
  const std::vector<Candidate>& candidates = candidates_;
  const double temperature = request.routing.temperature.value_or(settings_.temperature);
  std::optional<Choice> choice;
  if (!candidates.empty()) {
    // A request that names its worker gets that one in every mode.
    static const std::unique_ptr<Policy> direct = make_direct_policy();
    choice = (request.routing.instance ? direct : policy_)->choose(request, candidates, temperature);
  }
  if (!choice && request.routing.instance) {
    tried.is_busy = false;
    tried.failure =
        not_found(fmt::format("worker {:016x} is not there or takes no requests", *request.routing.instance));
  } else if (!choice && options_.library && !candidates.empty()) {
    tried.is_busy = true;  // the library says: not now
  } else if (!choice && options_.mode == Mode::kDirect) {
    tried.is_busy = false;
    tried.failure = invalid("the router is in mode direct: the request must name a worker (nvext.backend_instance_id)");
  } else if (!choice) {
    tried.failure = workers_.empty() ? unavailable("no worker serves this model now")
                                     : unavailable("no worker can take the request now: " +
                                                   fmt::format("{}", fmt::join(decision.left_out, ", ")));
  }
  if (options_.remembered_decisions > 0) remember_candidates(&decision);
  decision.request_id = request.id;
  decision.at = std::chrono::system_clock::now();
  decision.mode = mode_name(options_);
  decision.temperature = temperature;
  decision.prompt_tokens = static_cast<uint32_t>(request.prompt.size());
  decision.prompt_blocks = static_cast<uint32_t>(chain.size());
  decision.attempt = attempt;
  tried.prompt_tokens = decision.prompt_tokens;
  if (choice) {
    const Candidate& chosen = candidates[choice->index];
    const std::shared_ptr<Worker> worker = workers_.at(chosen.instance);
    decision.chosen = chosen.name;
    decision.reason = choice->reason;
    count_decision(worker.get(), choice->reason);
    worker->prompt_blocks->Increment(static_cast<double>(chain.size()));
    worker->overlap_blocks->Increment(chosen.overlap_blocks);
    if (log::is_enabled(log::Level::debug, "router"))
      for (const Candidate& one : candidates) tried.overlaps.emplace_back(one.name, one.overlap_blocks);
    tried.chosen = chosen.name;
    tried.overlap = chosen.overlap_blocks;
    tried.is_best_overlap = std::ranges::all_of(
        candidates, [&](const Candidate& one) { return one.overlap_blocks <= chosen.overlap_blocks; });
    const uint64_t cached = uint64_t{chosen.overlap_blocks} * options_.block_tokens;
    const uint64_t prefill_tokens = request.prompt.size() - std::min<uint64_t>(cached, request.prompt.size());
    tried.instance = chosen.instance;
    tried.prefill_tokens = prefill_tokens;
    const ActiveLoad::Ticket ticket = load_.add(worker->slot, prefill_tokens, chain);
    if (!options_.uses_events) guessed_.sent(worker->slot, chain, clock_->now());
    update_gauges(*worker);
    tried.booking = std::make_unique<Booking>(shared_from_this(), worker, ticket, request.id,
                                              request.prompt.size() % options_.block_tokens);
  } else {
    decision.reason = tried.is_busy ? "all workers are busy" : tried.failure.text();
  }
  if (choice || !tried.is_busy) decisions_.add(std::move(decision));
  decision_seconds_.Observe(std::chrono::duration<double>(Clock::steady().now() - started).count());
  return tried;
}

void Router::State::log(const Tried& tried, const GenerateRequest& request) const {
  if (!tried.booking || !log::is_enabled(log::Level::debug, "router")) return;
  if (options_.mode != Mode::kKv || options_.library) {
    LOG(debug, "Selected " + tried.chosen, {"request_id", request.id});
    return;
  }
  std::string scores;
  for (const auto& [worker, blocks] : tried.overlaps) {
    if (!scores.empty()) scores += ", ";
    scores += fmt::format("{}: {} blocks", worker, blocks);
  }
  LOG(debug, fmt::format("KV overlap scores: {{{}}}", scores), {"request_id", request.id});
  LOG(debug,
      fmt::format("Selected {} ({}: {} blocks)", tried.chosen,
                  tried.is_best_overlap ? "best overlap" : "lowest cost, overlap", tried.overlap),
      {"request_id", request.id});
  const uint64_t cached = std::min<uint64_t>(uint64_t{tried.overlap} * options_.block_tokens, tried.prompt_tokens);
  LOG(debug, fmt::format("Cache hit rate: {}% for this request", cached * 100 / std::max(tried.prompt_tokens, 1U)),
      {"request_id", request.id});
}

Task<Result<std::unique_ptr<Router::State::Booking>>> Router::State::book(const GenerateRequest* request,
                                                                          std::vector<uint64_t> passed_over,
                                                                          uint32_t attempt) {
  const auto chain = kv::hash_chain(request->prompt, options_.block_tokens, request->cache_salt);
  const Time until = std::min(request->deadline, clock_->now() + options_.queue_timeout);
  std::shared_ptr<WaitingLine::Ticket> ticket;
  for (;;) {
    Tried tried;
    {
      MutexLock lock(mutex_);
      const bool must_wait = !ticket && line_.is_before(request->priority);
      if (!must_wait) tried = try_book(*request, chain, passed_over, attempt);
      if (!must_wait && !tried.is_busy && !tried.booking) co_return tried.failure;
      if (tried.booking) {
        if (ticket) line_.call_next();  // there may be room for more
      } else if (!ticket && line_.size() >= options_.max_queue) {
        co_return exhausted(fmt::format("all workers are busy and {} requests wait already", line_.size()));
      }
    }
    if (tried.booking) {
      log(tried, *request);
      tell(wire::RouterNotice::kAdd, request->id, tried.instance, tried.prefill_tokens, chain.size());
      co_return std::move(tried.booking);
    }
    if (!ticket) ticket = std::make_shared<WaitingLine::Ticket>(co_await asio::this_coro::executor, request->priority);
    ticket->timer.expires_after(until - clock_->now());
    {
      MutexLock lock(mutex_);
      line_.join(ticket);
      waiting_gauge_.Set(static_cast<double>(line_.size()));
    }
    // Leaves the line however this coroutine ends.
    struct Leave {
      State* state;
      std::shared_ptr<WaitingLine::Ticket> ticket;
      ~Leave() {
        MutexLock lock(state->mutex_);
        state->line_.leave(ticket);
        state->waiting_gauge_.Set(static_cast<double>(state->line_.size()));
      }
    };
    const Leave leave{this, ticket};
    boost::system::error_code ignored;
    co_await ticket->timer.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
    if (!ticket->is_called && clock_->now() >= until)
      co_return exhausted("all workers are busy; the request waited in vain for one that is not");
  }
}

void Router::State::count_decision(Worker* worker, std::string_view reason) {
  auto known = std::ranges::find(worker->decisions, reason, [](const auto& one) { return one.first; });
  if (known == worker->decisions.end()) {
    MetricLabels labels = worker->labels;
    labels["reason"] = reason;
    known = worker->decisions.insert(known, {reason, &metrics_->counter(kDecisions, labels)});
  }
  known->second->Increment();
}

void Router::State::update_gauges(const Worker& worker) {
  const WorkerLoad& load = load_.of(worker.slot);
  worker.active->Set(static_cast<double>(load.requests));
  worker.active_blocks->Set(static_cast<double>(load.blocks));
  worker.pending_tokens->Set(static_cast<double>(load.prefill_tokens));
}

void Router::State::progress(ActiveLoad::Ticket ticket, const std::string& request, uint64_t instance, bool is_first,
                             uint64_t blocks) {
  {
    MutexLock lock(mutex_);
    if (is_first) load_.prefill_done(ticket);
    if (blocks > 0) load_.grow(ticket, blocks);
    if (const Worker* worker = find(instance)) update_gauges(*worker);
  }
  if (is_first) tell(wire::RouterNotice::kPrefillDone, request, instance, 0, 0);
}

void Router::State::free(ActiveLoad::Ticket ticket, const std::string& request, uint64_t instance) {
  {
    MutexLock lock(mutex_);
    load_.free(ticket);
    if (const Worker* worker = find(instance)) update_gauges(*worker);
    line_.call_next();
  }
  tell(wire::RouterNotice::kFree, request, instance, 0, 0);
}

std::vector<WorkerView> Router::State::view() const {
  MutexLock lock(mutex_);
  std::vector<WorkerView> all;
  for (const auto& worker : by_name_) {
    const WorkerLoad& load = load_.of(worker->slot);
    WorkerView one;
    one.instance = worker->routed.instance;
    one.name = worker->routed.name;
    const std::string why = why_not(*worker);
    one.state = why == "not connected" ? "connecting"
                : !why.empty()         ? "loading index"
                : is_busy(*worker)     ? "busy"
                                       : "ready";
    one.active_requests = load.requests;
    one.queued_tokens = load.prefill_tokens;
    one.active_blocks = load.blocks;
    one.cached_blocks = index_.blocks(worker->slot);
    one.total_blocks = worker->routed.total_blocks;
    one.index_state = !worker->feed                                         ? "guessed"
                      : worker->feed->state() == KvFeed::State::kProven     ? "proven"
                      : worker->feed->state() == KvFeed::State::kCatchingUp ? "catching up"
                      : worker->feed->state() == KvFeed::State::kPartial    ? "partial"
                                                                            : "unknown";
    all.push_back(std::move(one));
  }
  return all;
}

// ---- answering ----

// One request on its way: books, sends, and when a worker fails books and sends again.
class Router::State::Routed final : public Generation {
 public:
  Routed(std::shared_ptr<State> state, GenerateRequest request)
      : state_(std::move(state)), request_(std::move(request)) {}

  // Sends the request to a worker; to others while workers refuse. `why` is the failure that made this necessary, if any.
  Task<Status> dispatch(Status why) {
    for (;;) {
      auto booking = co_await state_->book(&request_, passed_over_, attempt_);
      if (!booking.is_ok()) {
        // That nobody is left says less than what the last worker said.
        co_return !why.is_ok() && booking.status().code() == Code::kUnavailable ? why : booking.status();
      }
      booking_ = std::move(booking).value();
      const std::string& name = booking_->worker().routed.name;
      if (!last_worker_.empty())
        LOG(debug, fmt::format("Worker {} unhealthy, rerouting -> {}", last_worker_, name),
            {"request_id", request_.id});
      last_worker_ = name;
      GenerateRequest copy = request_;
      auto started = co_await booking_->generator()->generate(std::move(copy));
      if (started.is_ok()) {
        inner_ = std::move(started).value();
        co_return Status();
      }
      why = started.status();
      if (!give_up_worker(why)) co_return why;
    }
  }

  Task<Result<TokenChunk>> next() override {
    for (;;) {
      auto chunk = co_await next_of_worker();
      if (chunk.is_ok()) {
        take(&*chunk);
        co_return chunk;
      }
      if (!give_up_worker(chunk.status())) co_return chunk.status();
      const Status status = co_await dispatch(chunk.status());
      if (!status.is_ok()) co_return status;
    }
  }

 private:
  Task<Result<TokenChunk>> next_of_worker() {
    if (has_answered_) co_return co_await inner_->next();
    using asio::experimental::awaitable_operators::operator||;
    asio::steady_timer limit(co_await asio::this_coro::executor);
    limit.expires_after(state_->first_token_timeout());
    auto either = co_await (inner_->next() || limit.async_wait(asio::use_awaitable));
    if (either.index() == 0) co_return std::move(std::get<0>(either));
    co_return unavailable(fmt::format("{} accepted the request and did not answer", last_worker_));
  }

  void take(TokenChunk* chunk) {
    has_answered_ = true;
    if (chunk->worker.empty() && !has_told_worker_) chunk->worker = last_worker_;
    has_told_worker_ = true;
    if (!cached_tokens_) cached_tokens_ = chunk->cached_tokens;
    chunk->cached_tokens = *cached_tokens_;  // of the first worker: the others' is of its prompt and its own answer
    if (!chunk->tokens.empty() && booking_) booking_->drawn(chunk->tokens.size());
    request_.prompt.insert(request_.prompt.end(), chunk->tokens.begin(), chunk->tokens.end());
    request_.drawn_before += static_cast<uint32_t>(chunk->tokens.size());
    if (chunk->finish) booking_.reset();
  }

  // Ends the attempt. Returns: whether another worker may be tried.
  bool give_up_worker(const Status& failure) {
    const Worker& worker = booking_->worker();
    const bool may_go_on = is_of_worker(failure) && attempt_ < state_->migration_limit() &&
                           state_->now() < request_.deadline && !request_.routing.instance;
    if (is_of_worker(failure)) (has_answered_ ? worker.migrations : worker.refusals)->Increment();
    if (may_go_on) {
      LOG(info, "a worker failed a request", {"worker", worker.routed.name}, {"request_id", request_.id},
          {"tokens_so_far", request_.drawn_before}, {"why", failure.to_string()});
    }
    passed_over_.push_back(worker.routed.instance);
    inner_.reset();
    booking_.reset();
    has_answered_ = false;
    ++attempt_;
    return may_go_on;
  }

  std::shared_ptr<State> state_;
  GenerateRequest request_;  // its prompt grows by what was given out
  std::unique_ptr<Booking> booking_;
  std::unique_ptr<Generation> inner_;
  std::vector<uint64_t> passed_over_;
  std::string last_worker_;
  uint32_t attempt_ = 0;
  bool has_answered_ = false;  // the worker of this attempt
  bool has_told_worker_ = false;
  std::optional<uint32_t> cached_tokens_;
};

Router::Router(RouterOptions options, RouterHooks hooks, Metrics* metrics, std::string name, const Clock* clock)
    : state_(std::make_shared<State>(std::move(options), std::move(hooks), metrics, std::move(name), clock)) {}
Router::~Router() = default;

Status Router::add_worker(RoutedWorker worker) {
  return state_->add_worker(std::move(worker));
}
void Router::remove_worker(uint64_t instance) {
  state_->remove_worker(instance);
}
size_t Router::workers() const {
  return state_->workers();
}
void Router::on_events(std::string_view message) {
  state_->on_events(message);
}
void Router::on_heartbeat(std::string_view message) {
  state_->on_heartbeat(message);
}
void Router::on_router_notice(std::string_view message) {
  state_->on_router_notice(message);
}
void Router::on_snapshot(uint64_t instance, uint64_t last_event, std::span<const kv::BlockHash> blocks) {
  state_->on_snapshot(instance, last_event, blocks);
}
void Router::on_no_snapshot(uint64_t instance, const Status& why) {
  state_->on_no_snapshot(instance, why);
}
void Router::set(RouterSettings settings) {
  state_->set(settings);
}
RouterSettings Router::settings() const {
  return state_->settings();
}
std::vector<WorkerView> Router::view() const {
  return state_->view();
}
boost::json::array Router::explain(size_t last, std::string_view request_id) const {
  return state_->explain(last, request_id);
}
size_t Router::in_flight() const {
  return state_->in_flight();
}

Task<Result<std::unique_ptr<Generation>>> Router::generate(GenerateRequest request) {
  const auto state = state_;
  if (request.prompt.empty()) co_return invalid("the prompt is empty");
  // A seed of ours lets a sampled answer that breaks off go on as the same text.
  if (!request.sampling.seed && request.sampling.temperature > 0) request.sampling.seed = random_bits();
  auto routed = std::make_unique<State::Routed>(state, std::move(request));
  Status status = co_await routed->dispatch(Status());
  if (!status.is_ok()) co_return status;
  co_return std::unique_ptr<Generation>(std::move(routed));
}

}  // namespace dynamo::router
