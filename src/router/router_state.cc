#include "router/router_state.h"

#include <algorithm>
#include <array>
#include <cmath>

#include <fmt/format.h>
#include <boost/asio/this_coro.hpp>

#include "base/log.h"
#include "router/cost.h"
#include "router/policies/library.h"

namespace dynamo::router {
namespace {

namespace asio = boost::asio;

constexpr Duration kMeasureAgain = std::chrono::minutes(1);  // a worker without prompts so long gets one to be measured
constexpr double kMeasuredTokens = 64;                       // a prompt that tells how fast it is computed has as many
constexpr double kMovedShare = 0.25;          // what a block costs that is moved, of one that is computed
constexpr size_t kRememberedCandidates = 64;  // of a decision
constexpr Duration kForeignLife = std::chrono::minutes(10);  // another router's request that never ended

// A rate as a worker told it; 0, not known, if it is none.
double rate_of(double told) {
  return std::isfinite(told) && told > 0 ? told : 0;
}

// How workers are listed: "worker-2" before "worker-10".
std::pair<size_t, std::string_view> order_of(const Worker& worker) {
  return {worker.routed.name.size(), worker.routed.name};
}

// The library's policy, or without one the mode's.
std::unique_ptr<Policy> policy_of(const RouterOptions& options, Metrics* metrics, const std::string& model,
                                  uint64_t seed) {
  auto builtin = make_policy(options.mode, seed);
  if (!options.library) return builtin;
  CHECK(options.mode != Mode::kDirect);  // it does not choose where the library cannot
  return options.library->make_policy(options.block_tokens, std::move(builtin),
                                      &metrics->counter(kPolicyFaults, {{"model", model}}));
}

}  // namespace

Router::State::State(RouterOptions options, RouterHooks hooks, Metrics* metrics, std::string name, const Clock* clock)
    : options_(std::move(options)),
      hooks_(std::move(hooks)),
      metrics_(metrics),
      name_(std::move(name)),
      clock_(clock),
      random_(options_.seed),
      policy_(policy_of(options_, metrics, name_, random_.draw())),
      prefill_policy_(policy_of(options_, metrics, name_, random_.draw())),
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

// ---- workers and what they hold ----

Status Router::State::add_worker(RoutedWorker routed) {
  CHECK(routed.instance != 0 && routed.generator);
  const uint64_t instance = routed.instance;
  bool must_fetch = false;
  {
    MutexLock lock(mutex_);
    if (workers_.contains(instance))
      return invalid(
          fmt::format("worker {:016x} is there already, as {}", instance, workers_.at(instance)->routed.name));
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
    prefill_workers_ += routed.serves == Serves::kPrefill;
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
  prefill_workers_ -= worker.routed.serves == Serves::kPrefill;
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

void Router::State::on_events(uint64_t from, std::string_view message) {
  wire::KvEvents events;
  if (!events.ParseFromArray(message.data(), static_cast<int>(message.size())) || events.instance() != from)
    return ignored_.Increment();
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

void Router::State::on_heartbeat(uint64_t from, std::string_view message) {
  wire::Heartbeat heartbeat;
  if (!heartbeat.ParseFromArray(message.data(), static_cast<int>(message.size())) || heartbeat.instance() != from)
    return ignored_.Increment();
  bool must_fetch = false;
  {
    MutexLock lock(mutex_);
    Worker* worker = find(heartbeat.instance());
    if (worker == nullptr) return ignored_.Increment();
    worker->heartbeat_at = clock_->now();
    worker->used_blocks = heartbeat.used_blocks();
    worker->prefill_rate = rate_of(heartbeat.prefill_tokens_per_second());
    worker->transfer_rate = rate_of(heartbeat.transfer_tokens_per_second());
    const auto beyond = [](uint64_t said, uint64_t known) { return said - std::min(said, known); };
    worker->unknown_tokens = beyond(heartbeat.queued_tokens(), worker->known.prefill_tokens);
    worker->unknown_sequences = beyond(uint64_t{heartbeat.running()} + heartbeat.waiting(), worker->known.requests);
    worker->known = load_.of(worker->slot);
    worker->places = heartbeat.is_full() ? heartbeat.running() : 0;
    if (worker->feed) {
      must_fetch = worker->feed->on_heartbeat(heartbeat);
      update_feed(worker);
    }
    if (!is_busy(*worker, clock_->now())) line_.call_next();
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
      Worker* worker = find(notice.instance());
      if (worker == nullptr) return;  // of another model, most likely
      if (const auto old = foreign_.find(key); old != foreign_.end()) load_.free(old->second.ticket);
      const ActiveLoad::Ticket ticket = add_load(worker, notice.prefill_tokens(), {});
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

bool Router::State::is_busy(const Worker& worker, Time now) const {
  if (!settings_.busy_threshold || worker.routed.total_blocks == 0) return false;
  uint64_t used = load_.of(worker.slot).blocks;
  if (is_fresh(worker, now)) used = std::max<uint64_t>(used, worker.used_blocks);
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

// Of the prompt: what is not cached there, and what no request in flight there is about to make cached.
// Requires: held_ and in_use_ are of the prompt.
uint64_t Router::State::new_tokens(const GenerateRequest& request, const Worker& worker) const {
  const uint64_t blocks = std::max(held_[worker.slot.index], in_use_[worker.slot.index]);
  return request.prompt.size() - std::min<uint64_t>(blocks * options_.block_tokens, request.prompt.size());
}

// In flight there, running or in line, whoever sent them.
uint64_t Router::State::sequences(const Worker& worker, Time now) const {
  return load_.of(worker.slot).requests + (is_fresh(worker, now) ? worker.unknown_sequences : 0);
}

// How many run there at once; 0: not known. Where some wait though not as many run as may, the cache's blocks are what there are no more of.
uint64_t Router::State::places(const Worker& worker, Time now) {
  const uint64_t most = worker.routed.max_sequences;
  if (!is_fresh(worker, now) || worker.places == 0) return most;
  return most == 0 ? worker.places : std::min<uint64_t>(most, worker.places);
}

// Requires: held_ and in_use_ are of the chain.
void Router::State::find_candidates(Pool pool, const GenerateRequest& request, const std::vector<kv::BlockHash>& chain,
                                    const std::vector<uint64_t>& passed_over, const Chosen* prefill, Decision* decision,
                                    bool* is_any_busy) {
  const double weight = request.routing.overlap_weight.value_or(settings_.overlap_weight);
  const Time now = clock_->now();
  candidates_.clear();
  for (const auto& worker : by_name_) {
    const Serves serves = worker->routed.serves;
    if ((serves == Serves::kPrefill) != (pool == Pool::kPrefill)) continue;
    const uint64_t instance = worker->routed.instance;
    std::string why = why_not(*worker);
    if (why.empty() && std::ranges::find(passed_over, instance) != passed_over.end())
      why = "failed this request before";
    if (why.empty() && is_busy(*worker, now)) {
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
    Standing standing{.queued_tokens = waiting_tokens(*worker, now),
                      .new_tokens = static_cast<double>(new_tokens(request, *worker)),
                      .blocks = static_cast<double>(load.blocks + chain.size() - in_use_[worker->slot.index]),
                      .sequences = sequences(*worker, now),
                      .places = places(*worker, now),
                      .answers = pool == Pool::kDecode};
    if (prefill != nullptr && serves == Serves::kDecode) {
      standing.new_tokens *= kMovedShare;
      standing.queued_tokens += prefill->prefill_blocks * options_.block_tokens;
    }
    const Cost cost = cost_of(standing, options_.block_tokens, weight);
    one.prefill_blocks = cost.prefill_blocks;
    one.decode_blocks = cost.decode_blocks;
    one.sequences = cost.sequences;
    one.rounds = cost.rounds;
    one.cost = cost.total;
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
                                    one.sequences, one.rounds, one.cost, one.active_requests});
  }
}

// Chooses among one pool's workers. Returns: none, with what stands in the way in `tried` if it is the pool that answers.
std::optional<Router::State::Chosen> Router::State::choose(Pool pool, const GenerateRequest& request,
                                                           const std::vector<kv::BlockHash>& chain,
                                                           const std::vector<uint64_t>& passed_over, uint32_t attempt,
                                                           const Chosen* prefill, Tried* tried) {
  Chosen chosen;
  Decision& decision = chosen.decision;
  const bool is_answering = pool == Pool::kDecode;
  bool is_any_busy = false;
  find_candidates(pool, request, chain, passed_over, prefill, &decision, &is_any_busy);
  const double temperature = request.routing.temperature.value_or(settings_.temperature);
  std::optional<Choice> choice;
  if (!candidates_.empty()) {
    // A request that names its worker gets that one in every mode.
    static const std::unique_ptr<Policy> direct = make_direct_policy();
    Policy* const policy = !is_answering              ? prefill_policy_.get()
                           : request.routing.instance ? direct.get()
                                                      : policy_.get();
    choice = policy->choose(request, candidates_, temperature);
  }
  if (prefill_workers_ > 0) decision.pool = is_answering ? "decode" : "prefill";
  decision.request_id = request.id;
  decision.at = std::chrono::system_clock::now();
  decision.mode = mode_name(options_);
  decision.temperature = temperature;
  decision.prompt_tokens = static_cast<uint32_t>(request.prompt.size());
  decision.prompt_blocks = static_cast<uint32_t>(chain.size());
  decision.attempt = attempt;
  if (options_.remembered_decisions > 0) remember_candidates(&decision);
  if (choice) {
    const Candidate& one = candidates_[choice->index];
    chosen.worker = workers_.at(one.instance);
    chosen.prefill_blocks = one.prefill_blocks;
    chosen.overlap = one.overlap_blocks;
    const uint64_t cached = uint64_t{one.overlap_blocks} * options_.block_tokens;
    chosen.uncached_tokens = request.prompt.size() - std::min<uint64_t>(cached, request.prompt.size());
    chosen.new_tokens = new_tokens(request, *chosen.worker);
    decision.chosen = one.name;
    decision.reason = choice->reason;
    if (log::is_enabled(log::Level::debug, "router"))
      for (const Candidate& other : candidates_) chosen.overlaps.emplace_back(other.name, other.overlap_blocks);
    chosen.is_best_overlap = std::ranges::all_of(
        candidates_, [&](const Candidate& other) { return other.overlap_blocks <= one.overlap_blocks; });
    if (!is_answering) {
      const Candidate* next = nullptr;
      for (const Candidate& other : candidates_)
        if (&other != &one && (next == nullptr || other.cost < next->cost)) next = &other;
      for (const Candidate* place : {&one, next})
        if (place != nullptr)
          chosen.also_at.push_back(
              {place->instance, std::string(place->name), workers_.at(place->instance)->routed.address});
    }
    return chosen;
  }
  if (!is_answering) return std::nullopt;
  tried->is_busy = is_any_busy;
  if (request.routing.instance) {
    tried->is_busy = false;
    tried->failure =
        not_found(fmt::format("worker {:016x} is not there or takes no requests", *request.routing.instance));
  } else if (options_.library && !candidates_.empty()) {
    tried->is_busy = true;  // the library says: not now
  } else if (options_.mode == Mode::kDirect) {
    tried->is_busy = false;
    tried->failure =
        invalid("the router is in mode direct: the request must name a worker (nvext.backend_instance_id)");
  } else if (workers_.size() == prefill_workers_) {
    tried->failure =
        unavailable(workers_.empty() ? "no worker serves this model now"
                                     : "only prefill workers serve this model now; a decode worker is needed");
  } else {
    tried->failure =
        unavailable("no worker can take the request now: " + fmt::format("{}", fmt::join(decision.left_out, ", ")));
  }
  if (!tried->is_busy) {
    decision.reason = tried->failure.text();
    decisions_.add(std::move(decision));
  }
  return std::nullopt;
}

// Why a prompt is computed where it is decoded; empty if it is not.
std::string Router::State::why_local(const Chosen& decode, const std::optional<Chosen>& prefill) const {
  if (decode.worker->routed.serves == Serves::kBoth) return "here: an aggregated worker";
  if (!prefill) return "here: no prefill worker is ready";
  if (settings_.max_local_prefill_length) {
    if (decode.uncached_tokens > *settings_.max_local_prefill_length) return {};
    return fmt::format("here: {} tokens are not cached, at most {} are computed locally", decode.uncached_tokens,
                       *settings_.max_local_prefill_length);
  }
  return why_sooner(decode, *prefill);
}

// Prompt tokens to compute there before a new prompt.
double Router::State::waiting_tokens(const Worker& worker, Time now) const {
  return static_cast<double>(load_.of(worker.slot).prefill_tokens +
                             (is_fresh(worker, now) ? worker.unknown_tokens : 0));
}

// As why_local, of "auto". What a prompt costs here is its time to the first token and, once more, the time in which it holds up the
// answers that are decoded here: so between equal workers it is computed here if what waits there takes longer than the prompt does.
std::string Router::State::why_sooner(const Chosen& decode, const Chosen& prefill) const {
  const Worker& here = *decode.worker;
  const Worker& there = *prefill.worker;
  const auto tokens = static_cast<double>(decode.uncached_tokens);
  const Time now = clock_->now();
  const double waiting_here = waiting_tokens(here, now);
  const double waiting_there = waiting_tokens(there, now);
  const auto may_measure = [now](const Worker& worker) {
    return !worker.prompt_at || *worker.prompt_at + kMeasureAgain <= now;
  };
  if (here.prefill_rate == 0 && there.prefill_rate > 0 && tokens >= kMeasuredTokens && waiting_here == 0 &&
      may_measure(here))
    return "here: to measure how fast it computes prompts";
  // Rates that are not known yet are taken for equal.
  const bool are_known = here.prefill_rate > 0 && there.prefill_rate > 0;
  const double here_rate = are_known ? here.prefill_rate : 1;
  const double there_rate = are_known ? there.prefill_rate : 1;
  const double moving = are_known && there.transfer_rate > 0 ? tokens / there.transfer_rate : 0;
  const double local = (waiting_here + tokens) / here_rate;
  const double remote = (waiting_there + static_cast<double>(prefill.uncached_tokens)) / there_rate + moving;
  if (remote <= local + tokens / here_rate) return {};
  // Who was slow once gets no prompts any more, and so could not show that this is over.
  if (waiting_there == 0 && may_measure(there)) return {};
  return fmt::format("here: expected to take {:.3g} of the time that {} needs", local / remote, there.routed.name);
}

ActiveLoad::Ticket Router::State::add_load(Worker* worker, uint64_t prefill_tokens,
                                           const std::vector<kv::BlockHash>& chain) {
  const ActiveLoad::Ticket ticket = load_.add(worker->slot, prefill_tokens, chain);
  const WorkerLoad& now = load_.of(worker->slot);
  worker->known.requests = std::max(worker->known.requests, now.requests);
  worker->known.prefill_tokens = std::max(worker->known.prefill_tokens, now.prefill_tokens);
  return ticket;
}

std::unique_ptr<Router::State::Booking> Router::State::take_booking(const GenerateRequest& request,
                                                                    const std::vector<kv::BlockHash>& chain,
                                                                    Tried* tried) {
  const auto add = [&](Chosen* chosen, uint64_t prefill_tokens) REQUIRES(mutex_) {
    Worker& worker = *chosen->worker;
    count_decision(&worker, chosen->decision.reason);
    worker.prompt_blocks->Increment(static_cast<double>(chain.size()));
    worker.overlap_blocks->Increment(chosen->overlap);
    const ActiveLoad::Ticket ticket = add_load(&worker, prefill_tokens, chain);
    if (prefill_tokens > 0) worker.prompt_at = clock_->now();
    if (!options_.uses_events) guessed_.sent(worker.slot, chain, clock_->now());
    update_gauges(worker);
    decisions_.add(std::move(chosen->decision));
    return Booking::At{chosen->worker, ticket};
  };
  Booking::At prefill;
  std::vector<PrefillPlace> places;
  if (tried->prefill) {
    prefill = add(&*tried->prefill, tried->prefill->new_tokens);
    places = tried->prefill->also_at;
  }
  Booking::At decode = add(&*tried->decode, tried->prefill ? 0 : tried->decode->new_tokens);
  return std::make_unique<Booking>(shared_from_this(), std::move(decode), std::move(prefill), std::move(places),
                                   request.id, request.prompt.size() % options_.block_tokens);
}

Router::State::Tried Router::State::try_book(const GenerateRequest& request, const std::vector<kv::BlockHash>& chain,
                                             const std::vector<uint64_t>& passed_over, uint32_t attempt) {
  const Time started = Clock::steady().now();
  if (!options_.uses_events) guessed_.expire(clock_->now());
  index_.match(chain, &matched_);
  scatter(matched_, index_slots_, &held_);
  load_.match(chain, &in_use_);
  Tried tried;
  if (prefill_workers_ > 0)
    tried.prefill = choose(Pool::kPrefill, request, chain, /*passed_over=*/{}, attempt, nullptr, &tried);
  tried.decode =
      choose(Pool::kDecode, request, chain, passed_over, attempt, tried.prefill ? &*tried.prefill : nullptr, &tried);
  if (tried.decode) {
    if (prefill_workers_ > 0) {
      std::string& where = tried.decode->decision.prefill;
      where = why_local(*tried.decode, tried.prefill);
      if (where.empty()) {
        where = tried.prefill->worker->routed.name;
      } else {
        tried.prefill.reset();
      }
    }
    tried.booking = take_booking(request, chain, &tried);
  }
  decision_seconds_.Observe(std::chrono::duration<double>(Clock::steady().now() - started).count());
  return tried;
}

void Router::State::log(const Chosen& chosen, const GenerateRequest& request) const {
  const std::string& name = chosen.worker->routed.name;
  if (options_.mode != Mode::kKv || options_.library) {
    LOG(debug, "Selected " + name, {"request_id", request.id});
    return;
  }
  std::string scores;
  for (const auto& [worker, blocks] : chosen.overlaps) {
    if (!scores.empty()) scores += ", ";
    scores += fmt::format("{}: {} blocks", worker, blocks);
  }
  LOG(debug, fmt::format("KV overlap scores: {{{}}}", scores), {"request_id", request.id});
  LOG(debug,
      fmt::format("Selected {} ({}: {} blocks)", name, chosen.is_best_overlap ? "best overlap" : "lowest cost, overlap",
                  chosen.overlap),
      {"request_id", request.id});
}

void Router::State::log(const Tried& tried, const GenerateRequest& request) const {
  if (!tried.booking || !log::is_enabled(log::Level::debug, "router")) return;
  if (tried.prefill) log(*tried.prefill, request);
  log(*tried.decode, request);
  if (options_.mode != Mode::kKv || options_.library) return;
  const uint64_t uncached = std::min(tried.decode->uncached_tokens,
                                     tried.prefill ? tried.prefill->uncached_tokens : tried.decode->uncached_tokens);
  const uint64_t cached = request.prompt.size() - uncached;
  LOG(debug, fmt::format("Cache hit rate: {}% for this request", cached * 100 / request.prompt.size()),
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
      const uint64_t prefill_tokens = tried.prefill ? tried.prefill->new_tokens : tried.decode->new_tokens;
      if (tried.prefill)
        tell(wire::RouterNotice::kAdd, prefill_key(request->id), tried.prefill->worker->routed.instance, prefill_tokens,
             chain.size());
      tell(wire::RouterNotice::kAdd, request->id, tried.decode->worker->routed.instance,
           tried.prefill ? 0 : prefill_tokens, chain.size());
      co_return std::move(tried.booking);
    }
    if (!ticket)
      ticket = std::make_shared<WaitingLine::Ticket>(clock_, co_await asio::this_coro::executor, request->priority);
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
    co_await ticket->timer.wait(until);
    if (!ticket->is_called && clock_->now() >= until)
      co_return exhausted("all workers are busy; the request waited in vain for one that is not");
  }
}

void Router::State::count_decision(Worker* worker, std::string_view reason) {
  auto known = std::ranges::find_if(worker->decisions, [&](const auto& one) { return one.first == reason; });
  if (known == worker->decisions.end()) {
    MetricLabels labels = worker->labels;
    labels["reason"] = reason;
    known = worker->decisions.insert(known, {std::string(reason), &metrics_->counter(kDecisions, labels)});
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
  const Time now = clock_->now();
  MutexLock lock(mutex_);
  std::vector<WorkerView> all;
  for (const auto& worker : by_name_) {
    const WorkerLoad& load = load_.of(worker->slot);
    WorkerView one;
    one.instance = worker->routed.instance;
    one.name = worker->routed.name;
    const std::string why = why_not(*worker);
    one.state = why == "not connected"  ? "connecting"
                : !why.empty()          ? "loading index"
                : is_busy(*worker, now) ? "busy"
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

}  // namespace dynamo::router
