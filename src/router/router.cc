#include "router/router.h"

#include <fmt/format.h>

#include "base/log.h"
#include "router/policies/library.h"
#include "router/routed_generation.h"

namespace dynamo::router {
namespace {

// The library's policy, or without one the mode's.
std::unique_ptr<Policy> policy_of(const RouterOptions& options, uint64_t seed, prometheus::Counter* faults) {
  auto builtin = make_policy(options.mode, seed);
  if (!options.library) return builtin;
  CHECK(options.mode != Mode::kDirect);  // it does not choose where the library cannot
  return options.library->make_policy(options.block_tokens, std::move(builtin), faults);
}

// Policies in the order in which they draw their seeds.
Chooser chooser_of(const RouterOptions& options, SharedRandom* random, prometheus::Counter* faults) {
  auto answering = policy_of(options, random->draw(), faults);
  auto prefilling = policy_of(options, random->draw(), faults);
  return Chooser(&options, std::move(answering), std::move(prefilling));
}

}  // namespace

std::shared_ptr<Router> Router::create(RouterOptions options, RouterHooks hooks, Metrics* metrics, std::string model,
                                       const Clock* clock) {
  return std::shared_ptr<Router>(new Router(std::move(options), std::move(hooks), metrics, std::move(model), clock));
}

Router::Router(RouterOptions options, RouterHooks hooks, Metrics* metrics, std::string model, const Clock* clock)
    : options_(std::move(options)),
      hooks_(std::move(hooks)),
      metrics_(metrics),
      model_(std::move(model)),
      clock_(clock),
      counts_(metrics, model_),
      random_(options_.seed),
      replicas_(random_.draw(), hooks_.tell_routers),
      index_(PrefixIndex::Options{.max_bytes = options_.index_bytes}),
      settings_(options_.settings),
      chooser_(chooser_of(options_, &random_, counts_.policy_faults)),
      guessed_(&index_, options_.guess_lifetime),
      decisions_(options_.remembered_decisions),
      line_(&mutex_, clock, options_.max_queue, counts_.waiting) {}

// ---- workers, and what they tell ----

Status Router::add_worker(RoutedWorker routed) {
  CHECK(routed.instance != 0 && routed.generator);
  {
    MutexLock lock(mutex_);
    TRY_STATUS(workers_.may_add(routed.instance));
  }
  const bool has_feed = routed.has_events && options_.uses_events;
  TRY(const WorkerSlot slot, index_.add_worker());
  const auto worker = std::make_shared<Worker>(std::move(routed), slot, metrics_, model_);
  if (has_feed) worker->feed.emplace(&index_, slot, &worker->metrics);
  Status added;
  {
    MutexLock lock(mutex_);
    added = workers_.add(worker);
    line_.call_next();
  }
  if (!added.is_ok()) {
    index_.remove_worker(slot);
  } else if (has_feed) {
    fetch_snapshot_if(worker->feed->start(), worker->routed.instance);
  }
  return added;
}

void Router::remove_worker(uint64_t instance) {
  std::shared_ptr<Worker> worker;
  {
    MutexLock lock(mutex_);
    worker = workers_.remove(instance);
    if (!worker) return;
    guessed_.remove_worker(worker->slot);
  }
  if (worker->feed) worker->feed->close();
  index_.remove_worker(worker->slot);
}

std::shared_ptr<Worker> Router::find(uint64_t instance) const {
  MutexLock lock(mutex_);
  return workers_.find(instance);
}

void Router::fetch_snapshot_if(bool must_fetch, uint64_t instance) const {
  if (must_fetch && hooks_.fetch_snapshot) hooks_.fetch_snapshot(instance);
}

void Router::show_index() const {
  counts_.distinct_blocks->Set(static_cast<double>(index_.distinct_blocks()));
  counts_.index_bytes->Set(static_cast<double>(index_.bytes()));
  counts_.evicted_blocks->Set(static_cast<double>(index_.counts().evicted));
}

void Router::on_events(uint64_t from, std::string_view message) {
  auto events = wire::kv_events_from_bytes(message);
  const auto worker = events.is_ok() && events->instance == from ? find(from) : nullptr;
  if (!worker || !worker->feed) return counts_.ignored->Increment();
  fetch_snapshot_if(worker->feed->on_events(std::move(events).value()), from);
}

void Router::on_heartbeat(uint64_t from, std::string_view message) {
  const auto heartbeat = wire::heartbeat_from_bytes(message);
  if (!heartbeat.is_ok() || heartbeat->instance != from) return counts_.ignored->Increment();
  std::shared_ptr<Worker> worker;
  {
    MutexLock lock(mutex_);
    worker = workers_.find(from);
    if (!worker) return counts_.ignored->Increment();
    const Time now = clock_->now();
    worker->report.on_heartbeat(*heartbeat, workers_.load_of(*worker), now);
    if (!workers_.is_busy(*worker, settings_.busy_threshold, now)) line_.call_next();
  }
  if (!worker->feed) return;
  fetch_snapshot_if(worker->feed->on_heartbeat(*heartbeat), from);
  show_index();
}

void Router::on_snapshot(uint64_t instance, uint64_t last_event, std::span<const kv::BlockHash> blocks,
                         const BlocksByTier& lower) {
  const auto worker = find(instance);
  if (!worker || !worker->feed) return;
  const bool must_fetch = worker->feed->on_snapshot(last_event, blocks, lower);
  show_index();
  {
    MutexLock lock(mutex_);
    line_.call_next();
  }
  LOG(debug, "snapshot taken over", {"instance", fmt::format("{:016x}", instance)}, {"blocks", blocks.size()});
  fetch_snapshot_if(must_fetch, instance);
}

void Router::on_no_snapshot(uint64_t instance, const Status& why) {
  const auto worker = find(instance);
  if (!worker || !worker->feed) return;
  worker->feed->on_no_snapshot();
  LOG(warn, "no snapshot", {"instance", fmt::format("{:016x}", instance)}, {"why", why.to_string()});
}

void Router::on_router_notice(std::string_view message) {
  const auto notice = wire::router_notice_from_bytes(message);
  if (!notice.is_ok()) return counts_.ignored->Increment();
  MutexLock lock(mutex_);
  replicas_.on_notice(*notice, &workers_, clock_->now());
}

void Router::set(RouterSettings settings) {
  MutexLock lock(mutex_);
  settings_ = settings;
  line_.call_next();
}

// ---- requests ----

Task<Result<std::unique_ptr<Generation>>> Router::generate(GenerateRequest request) {
  const auto self = shared_from_this();
  CO_TRY_STATUS(kv::check(request.prompt));
  // A seed of ours lets a sampled answer that breaks off go on as the same text.
  if (!request.sampling.seed && request.sampling.temperature > 0) request.sampling.seed = random_.draw();
  auto routed = std::make_unique<RoutedGeneration>(self, std::move(request));
  CO_TRY_STATUS(co_await routed->dispatch(Status()));
  co_return std::unique_ptr<Generation>(std::move(routed));
}

Task<Result<std::unique_ptr<Booking>>> Router::book(Asked asked) {
  const GenerateRequest& request = *asked.request;
  asked.chain = kv::hash_chain(request.prompt, options_.block_tokens);
  const Time until = std::min(request.deadline, clock_->now() + options_.queue_timeout);
  Tried tried;
  std::function<bool()> attempt = [&]() REQUIRES(mutex_) { return try_book(asked, &tried); };
  CO_TRY_STATUS(co_await line_.admit(request.priority, until, std::move(attempt)));
  if (!tried.booking) co_return tried.failure;
  log_decisions(tried.prefill.get(), *tried.decode, options_.mode == Mode::kKv && !options_.library);
  tell_started(*tried.booking, asked.chain.size());
  co_return std::move(tried.booking);
}

bool Router::try_book(const Asked& asked, Tried* tried) {
  const Time started = Clock::steady().now();
  const Time now = clock_->now();
  if (!options_.uses_events) guessed_.expire(now);
  const PromptOverlap overlap = overlap_of(asked);
  Selection made = chooser_.choose({asked, overlap, workers_, settings_, now});
  if (made.decode) {
    std::optional<Flight> prefill;
    if (made.prefill) prefill = start(Pool::kPrefill, asked, made.prefill->new_tokens, &*made.prefill, &tried->prefill);
    const uint64_t tokens_here = prefill ? 0 : made.decode->new_tokens;
    Flight decode = start(Pool::kDecode, asked, tokens_here, &*made.decode, &tried->decode);
    tried->booking = std::make_unique<Booking>(shared_from_this(), std::move(decode), std::move(prefill),
                                               std::move(made.prefill_at), overlap.tokens % options_.block_tokens);
  } else if (!made.must_wait) {
    decisions_.add(std::move(made.refused));
    tried->failure = made.failure;
  }
  counts_.decision_seconds->Observe(std::chrono::duration<double>(Clock::steady().now() - started).count());
  return !made.must_wait;
}

PromptOverlap Router::overlap_of(const Asked& asked) {
  PromptOverlap overlap;
  overlap.tokens = asked.request->prompt.size();
  overlap.blocks = asked.chain.size();
  overlap.block_tokens = options_.block_tokens;
  index_.match(asked.chain, &matched_);
  overlap.held.assign(workers_.slots(), 0);
  for (const MatchedWorker& one : matched_)
    if (one.worker.index < overlap.held.size()) overlap.held[one.worker.index] = one.blocks;
  for (const auto& worker : workers_.by_name())
    if (worker->feed) match_lower_tiers(*worker, asked.chain, &overlap);
  workers_.match(asked.chain, &overlap.in_use);
  return overlap;
}

// Each tier goes on where those above it end.
void Router::match_lower_tiers(const Worker& worker, std::span<const kv::BlockHash> chain, PromptOverlap* overlap) {
  uint32_t depth = overlap->held[worker.slot.index];
  for (const kv::Tier tier : kv::kLowerTiers) {
    const auto slot = worker.feed->slot_of(tier);
    const uint32_t blocks = slot ? index_.leading(*slot, chain.subspan(depth)) : 0;
    if (blocks == 0) continue;
    overlap->lower.resize(overlap->held.size());
    overlap->lower[worker.slot.index][tier] = blocks;
    depth += blocks;
  }
}

// The chosen worker has the request from now on.
Flight Router::start(Pool pool, const Asked& asked, uint64_t prefill_tokens, Chosen* chosen, DecisionRecord* record) {
  Worker& worker = *chosen->worker;
  worker.metrics.count_decision(chosen->decision.reason);
  worker.metrics.prompt_blocks->Increment(static_cast<double>(asked.chain.size()));
  worker.metrics.overlap_blocks->Increment(chosen->decision.overlap_blocks);
  const ActiveLoad::Id id = workers_.start(&worker, prefill_tokens, asked.chain);
  const Time now = clock_->now();
  if (prefill_tokens > 0) worker.prompt_at = now;
  if (!options_.uses_events) guessed_.sent(worker.slot, asked.chain, now);
  *record = decisions_.add(std::move(chosen->decision));
  return {{asked.request->id, pool}, chosen->worker, id, prefill_tokens};
}

void Router::tell_started(const Booking& booking, uint64_t blocks) const {
  for (const Flight* flight : {booking.prefill(), &booking.decode()})
    if (flight != nullptr)
      replicas_.tell_started(flight->key, flight->worker->routed.instance, flight->prefill_tokens, blocks);
}

void Router::progress(const Flight& flight, bool is_first_token, uint64_t blocks) {
  const uint64_t instance = flight.worker->routed.instance;
  {
    MutexLock lock(mutex_);
    if (is_first_token) workers_.end_prefill(flight.id, instance);
    if (blocks > 0) workers_.grow(flight.id, instance, blocks);
  }
  if (is_first_token) replicas_.tell_prefill_done(flight.key, instance);
}

void Router::end(const Flight& flight) {
  const uint64_t instance = flight.worker->routed.instance;
  {
    MutexLock lock(mutex_);
    workers_.end(flight.id, instance);
    line_.call_next();
  }
  replicas_.tell_ended(flight.key, instance);
}

// ---- what one sees ----

size_t Router::workers() const {
  MutexLock lock(mutex_);
  return workers_.size();
}

size_t Router::answering_workers() const {
  MutexLock lock(mutex_);
  return workers_.answering();
}

RouterSettings Router::settings() const {
  MutexLock lock(mutex_);
  return settings_;
}

std::vector<WorkerView> Router::view() const {
  MutexLock lock(mutex_);
  std::vector<WorkerView> all;
  for (const auto& worker : workers_.by_name()) {
    all.push_back(workers_.view(*worker, settings_.busy_threshold, clock_->now()));
    all.back().cached_blocks = index_.blocks(worker->slot);
  }
  return all;
}

Decisions Router::decisions(size_t last, std::string_view request_id) const {
  MutexLock lock(mutex_);
  return decisions_.latest(last, request_id);
}

size_t Router::in_flight() const {
  MutexLock lock(mutex_);
  return workers_.in_flight();
}

}  // namespace dynamo::router
