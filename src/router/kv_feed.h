// Keeps one worker's blocks in the index equal to its cache, over a bus that may lose, repeat and reorder.
//
// Events are numbered; what is missing is repaired by a snapshot, and until that comes the old state is used. Heartbeats carry the
// number of the last event and the wrapping sum of the blocks held: equal sums at equal numbers prove the index right.
// Spec: docs/reference/events.md.  Threads: one at a time.
#pragma once

#include <cstdint>
#include <deque>
#include <vector>

#include "kv/block_hash.h"
#include "router/prefix_index.h"

namespace dynamo::wire {
class KvEvents;
class Heartbeat;
}  // namespace dynamo::wire

namespace dynamo::router {

class KvFeed {
 public:
  enum class State {
    kUnknown,     // no snapshot has come yet
    kCatchingUp,  // applied what came, not compared since
    kProven,      // equal to the worker's cache at the last heartbeat
    kPartial      // right in what it says, but the index had no memory for all of the worker's blocks
  };
  struct Counts {
    uint64_t events = 0;
    uint64_t gaps = 0;        // events missing
    uint64_t mismatches = 0;  // the same events, another sum
    uint64_t snapshots = 0;
  };

  KvFeed(PrefixIndex* index, WorkerSlot worker) : index_(index), worker_(worker) {}

  // True: a snapshot must be fetched now, and on_snapshot() or on_no_snapshot() called with what comes of it.
  bool on_events(const wire::KvEvents& events);
  bool on_heartbeat(const wire::Heartbeat& heartbeat);
  bool on_snapshot(uint64_t last_event, std::span<const kv::BlockHash> blocks);
  void on_no_snapshot() { is_fetching_ = false; }  // the next heartbeat asks again
  // Asks for the first snapshot. Returns: true, once.
  bool start();

  State state() const { return state_; }
  bool has_blocks() const { return state_ != State::kUnknown; }
  const Counts& counts() const { return counts_; }

 private:
  struct Change {
    bool is_cleared = false;
    std::vector<kv::BlockHash> stored;
    std::vector<kv::BlockHash> removed;
  };
  struct Batch {
    uint64_t first = 0;
    std::vector<Change> changes;
    size_t blocks = 0;
  };
  static Batch batch_of(const wire::KvEvents& events);
  bool fetch();
  bool apply(const Batch& batch);
  void keep(Batch batch);

  PrefixIndex* index_;
  WorkerSlot worker_;
  State state_ = State::kUnknown;
  uint64_t applied_ = 0;  // number of the last event that the index reflects
  uint64_t behind_ = 0;   // last event of the heartbeat before, if it was not applied then
  bool is_fetching_ = false;
  std::deque<Batch> kept_;  // came while a snapshot is fetched
  size_t kept_blocks_ = 0;
  Counts counts_;
};

}  // namespace dynamo::router
