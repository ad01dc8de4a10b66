#include "router/kv_feed.h"

namespace dynamo::router {
namespace {

constexpr size_t kMostKeptBlocks = 4U << 20;  // beyond, the oldest go; the gap is seen and repaired by another snapshot

size_t blocks_of(const wire::KvEvents& events) {
  size_t blocks = 0;
  for (const wire::KvChange& change : events.changes) blocks += change.stored.size() + change.removed.size();
  return blocks;
}

}  // namespace

bool KvFeed::start() {
  MutexLock lock(mutex_);
  show();
  return fetch();
}

void KvFeed::close() {
  MutexLock lock(mutex_);
  is_closed_ = true;
  for (const kv::Tier tier : kv::kLowerTiers)
    if (const auto slot = slot_of(tier)) index_->remove_worker(*slot);
}

bool KvFeed::fetch() {
  if (is_fetching_) return false;
  is_fetching_ = true;
  if (has_blocks()) state_ = State::kCatchingUp;
  metrics_->index_state->Set(static_cast<double>(state()));
  return true;
}

bool KvFeed::fetch_missing() {
  metrics_->gaps->Increment();
  return fetch();
}

void KvFeed::keep(wire::KvEvents events) {
  kept_blocks_ += blocks_of(events);
  kept_.push_back(std::move(events));
  while (kept_blocks_ > kMostKeptBlocks && kept_.size() > 1) {
    kept_blocks_ -= blocks_of(kept_.front());
    kept_.pop_front();
  }
}

// Returns: false if events before it are missing.
bool KvFeed::apply(const wire::KvEvents& events) {
  if (events.first_event > applied_ + 1) return false;
  uint64_t count = 0;
  for (size_t i = 0; i < events.changes.size(); ++i) {
    if (events.first_event + i <= applied_) continue;  // a repeated one
    apply(events.changes[i]);
    applied_ = events.first_event + i;
    ++count;
  }
  metrics_->events->Increment(static_cast<double>(count));
  return true;
}

void KvFeed::apply(const wire::KvChange& change) {
  std::optional<WorkerSlot> slot = worker_;
  if (change.tier != kv::Tier::kDevice) slot = change.stored.empty() ? slot_of(change.tier) : add_slot(change.tier);
  if (!slot) return;
  if (change.is_cleared) index_->clear(*slot);
  index_->store(*slot, change.stored);
  index_->remove(*slot, change.removed);
}

// Returns: none if the index has no slot left; what the tier holds stays unknown then.
std::optional<WorkerSlot> KvFeed::add_slot(kv::Tier lower) {
  if (const auto known = slot_of(lower)) return known;
  const auto added = index_->add_worker();
  if (!added.is_ok()) return std::nullopt;
  lower_[lower].store(added->index, std::memory_order_relaxed);
  return *added;
}

bool KvFeed::on_events(wire::KvEvents events) {
  MutexLock lock(mutex_);
  if (is_closed_) return false;
  return take(std::move(events));
}

bool KvFeed::take(wire::KvEvents events) {
  if (is_fetching_ || !has_blocks()) {
    keep(std::move(events));
    return fetch();
  }
  if (apply(events)) return false;
  keep(std::move(events));
  return fetch_missing();
}

bool KvFeed::on_heartbeat(const wire::Heartbeat& heartbeat) {
  MutexLock lock(mutex_);
  if (is_closed_ || is_fetching_) return false;
  const bool must_fetch = has_blocks() ? compare(heartbeat) : fetch();
  show();
  return must_fetch;
}

bool KvFeed::compare(const wire::Heartbeat& heartbeat) {
  const uint64_t behind = std::exchange(behind_, 0);
  if (heartbeat.last_event > applied_) {
    // Its events may still be on their way; if they are not here by the next heartbeat they are lost.
    behind_ = heartbeat.last_event;
    if (behind == 0 || applied_ >= behind) return false;
    return fetch_missing();
  }
  if (heartbeat.last_event < applied_) return false;  // an old one
  if (heartbeat.digest == index_->digest(worker_) && heartbeat.blocks == index_->blocks(worker_)) {
    state_ = State::kProven;
    return false;
  }
  if (!index_->is_complete(worker_)) {  // a snapshot would not fit either
    state_ = State::kPartial;
    return false;
  }
  metrics_->mismatches->Increment();
  return fetch();
}

bool KvFeed::on_snapshot(uint64_t last_event, std::span<const kv::BlockHash> blocks, const BlocksByTier& lower) {
  MutexLock lock(mutex_);
  if (is_closed_) return false;
  is_fetching_ = false;
  metrics_->snapshots->Increment();
  index_->replace(worker_, blocks);
  for (const kv::Tier tier : kv::kLowerTiers)
    if (const auto slot = lower[tier].empty() ? slot_of(tier) : add_slot(tier)) index_->replace(*slot, lower[tier]);
  applied_ = last_event;
  state_ = State::kCatchingUp;
  behind_ = 0;
  const bool must_fetch = catch_up();
  show();
  return must_fetch;
}

// Applies what came while the snapshot was fetched.
bool KvFeed::catch_up() {
  kept_blocks_ = 0;
  const std::deque<wire::KvEvents> kept = std::exchange(kept_, {});
  for (const wire::KvEvents& events : kept)
    if (!apply(events)) return fetch_missing();
  return false;
}

void KvFeed::on_no_snapshot() {
  MutexLock lock(mutex_);
  is_fetching_ = false;
}

// After a heartbeat or a snapshot; not after every event, for it takes the index's lock.
void KvFeed::show() const {
  metrics_->index_blocks->Set(static_cast<double>(index_->blocks(worker_)));
  metrics_->index_state->Set(static_cast<double>(state()));
}

}  // namespace dynamo::router
