// Keeps one worker's blocks in the index equal to its cache, over a bus that may lose, repeat and reorder.
//
// Events are numbered; what is missing is repaired by a snapshot, and until that comes the old state is used.
// Heartbeats carry the number of the last event and the wrapping sum of the blocks held: equal sums at equal numbers
// prove the index right. A tier below the device has a slot of its own in the index, from its first block on.
// Spec: docs/reference/events.md.
// Threads: any; a lock inside keeps what is applied in order. state() takes none: every decision reads it.
// Private to the module.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <optional>
#include <vector>

#include "base/mutex.h"
#include "kv/block_hash.h"
#include "kv/tier.h"
#include "router/metrics.h"
#include "router/prefix_index.h"
#include "wire/bus_messages.h"

namespace dynamo::router {

using BlocksByTier = kv::PerTier<std::vector<kv::BlockHash>>;

class KvFeed {
 public:
  enum class State : uint8_t {
    kUnknown,     // no snapshot has come yet
    kCatchingUp,  // applied what came, not compared since
    kProven,      // equal to the worker's cache at the last heartbeat
    kPartial      // right in what it says, but the index had no memory for all of the worker's blocks
  };

  // `index` and `metrics` outlive it.
  KvFeed(PrefixIndex* index, WorkerSlot worker, const WorkerMetrics* metrics)
      : worker_(worker), index_(index), metrics_(metrics) {}

  // True: a snapshot must be fetched now, and on_snapshot() or on_no_snapshot() called with what comes of it.
  bool on_events(wire::KvEvents events);
  bool on_heartbeat(const wire::Heartbeat& heartbeat);
  // `blocks` are those on the device, `lower` those of the tiers below, by tier.
  bool on_snapshot(uint64_t last_event, std::span<const kv::BlockHash> blocks, const BlocksByTier& lower = {});
  void on_no_snapshot();  // the next heartbeat asks again
  // Asks for the first snapshot. Returns: true, once.
  bool start();
  // Nothing is applied from now on: the worker's slot may be given up; those of lower tiers are. Requires: nobody uses
  // slot_of() any more.
  void close();

  // Of a tier below the device. Returns: none until its first block was told.
  std::optional<WorkerSlot> slot_of(kv::Tier lower) const {
    const uint32_t slot = lower_[lower].load(std::memory_order_relaxed);
    return slot == kNoSlot ? std::nullopt : std::optional(WorkerSlot{slot});
  }

  State state() const { return state_.load(std::memory_order_relaxed); }
  bool has_blocks() const { return state() != State::kUnknown; }

 private:
  bool take(wire::KvEvents events) REQUIRES(mutex_);
  bool compare(const wire::Heartbeat& heartbeat) REQUIRES(mutex_);
  bool catch_up() REQUIRES(mutex_);
  bool fetch() REQUIRES(mutex_);
  bool fetch_missing() REQUIRES(mutex_);
  bool apply(const wire::KvEvents& events) REQUIRES(mutex_);
  void apply(const wire::KvChange& change) REQUIRES(mutex_);
  std::optional<WorkerSlot> add_slot(kv::Tier lower) REQUIRES(mutex_);
  void keep(wire::KvEvents events) REQUIRES(mutex_);
  void show() const;

  static constexpr uint32_t kNoSlot = UINT32_MAX;

  std::atomic<State> state_ = State::kUnknown;
  kv::PerTier<std::atomic<uint32_t>> lower_{{kNoSlot, kNoSlot, kNoSlot}};  // the device's is not used
  const WorkerSlot worker_;
  PrefixIndex* const index_;
  const WorkerMetrics* const metrics_;
  Mutex mutex_;
  bool is_closed_ GUARDED_BY(mutex_) = false;
  bool is_fetching_ GUARDED_BY(mutex_) = false;
  uint64_t applied_ GUARDED_BY(mutex_) = 0;  // number of the last event that the index reflects
  uint64_t behind_ GUARDED_BY(mutex_) = 0;   // last event of the heartbeat before, if it was not applied then
  std::deque<wire::KvEvents> kept_ GUARDED_BY(mutex_);  // came while a snapshot is fetched
  size_t kept_blocks_ GUARDED_BY(mutex_) = 0;
};

}  // namespace dynamo::router
