// Which worker holds which KV block: what the router knows of its workers' caches, and asks for every prompt.
//
// Fed with the workers' events (kv/kv_event.h), it is as true as they are: what it does not know it never claims. At
// `max_bytes` it forgets the blocks that were least recently stored or matched; a forgotten block is simply unknown.
// Memory per distinct block, the table's slack included: 28-43 bytes (34 in the middle) for up to 5 workers. A larger
// set is kept once for all blocks that have it: 28 + 8 bytes per 64-worker word in use, so 64 workers who share whole
// prompts cost nothing more per block; were every block's set of the 64 different, it would be 36 bytes more, and with
// workers above 64, 8 more per word. Idea: Zheng et al. 2023 (SGLang), 3 (a radix tree; here the hash of a block stands
// for its whole prefix, so that a flat table does). Hashes are all it knows: of blocks whose hashes are equal it takes
// one for the other, so a match can be a wrong guess where clients make such blocks; sets and sums are right for any
// hashes.
// Threads: any, but for one worker one at a time stores, removes, clears or replaces; a lock inside is held for a match
// or for a piece of what a writer brings, so that a prompt waits for one piece at most.  Errors: only add_worker() has
// one.  Private to the module.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "base/status.h"
#include "kv/block_hash.h"
#include "router/block_table.h"
#include "router/fair_mutex.h"
#include "router/worker_sets.h"

namespace dynamo::router {

// A small number that stands for a worker, or a tier of one; reused after it is gone.
struct WorkerSlot {
  uint32_t index = 0;
  auto operator<=>(const WorkerSlot&) const = default;
};

struct MatchedWorker {
  WorkerSlot worker;
  uint32_t blocks = 0;  // leading blocks of the prompt that it holds, >= 1
  auto operator<=>(const MatchedWorker&) const = default;
};

class PrefixIndex {
 public:
  struct Options {
    // All memory of the index. [512 KiB, 256 GiB]  An eighth of it is for sets of more than five workers.
    size_t max_bytes = size_t{4} << 30;
    uint32_t max_workers = kMaxWorkers;  // at once, each lower tier of one counting as one; [1, 4096]
    uint64_t secret = 0;                 // keys the table's positions; 0 draws one from the system
  };
  struct Counts {
    uint64_t stored_again = 0;    // blocks stored that the worker held
    uint64_t removed_absent = 0;  // blocks removed that the worker did not hold, as after their eviction
    uint64_t evicted = 0;         // distinct blocks forgotten at the cap
    uint64_t refused = 0;         // blocks not recorded for one more worker: no memory for larger sets
  };

  explicit PrefixIndex(Options options);

  // Errors: kExhausted (max_workers).
  Result<WorkerSlot> add_worker();
  // Forgets the worker and frees what nobody else holds.  Cost: a pass over the table.
  void remove_worker(WorkerSlot worker);

  // In all that follows `worker` came from add_worker() and was not removed; anything else is a CHECK failure.

  // The worker holds these blocks.  Cost: a cache miss per block, overlapped.
  void store(WorkerSlot worker, std::span<const kv::BlockHash> blocks);
  // The worker no longer holds these blocks.  Cost: as store().
  void remove(WorkerSlot worker, std::span<const kv::BlockHash> blocks);
  // The worker holds nothing.  Cost: a pass over the table, until the last of its blocks is found.
  void clear(WorkerSlot worker);
  // The worker holds exactly `all`. What it held of that before is known all the while.  Cost: a set of `all`, clear()
  // and store().
  void replace(WorkerSlot worker, std::span<const kv::BlockHash> all);

  // Sets `out` to every worker that holds chain[0], with how many blocks it holds of chain[0], chain[1], ... without a
  // gap; fewest first. Keeps the blocks looked at from eviction for a while.  Cost: as store(), up to the last block
  // that counts.
  void match(std::span<const kv::BlockHash> chain, std::vector<MatchedWorker>* out);

  // Returns: how many blocks the worker holds of chain[0], chain[1], ... without a gap, which are kept as by match().
  // Cost: as match().
  uint32_t leading(WorkerSlot worker, std::span<const kv::BlockHash> chain);

  // Returns: the wrapping sum of the hashes that the worker is known to hold; order does not matter.  Cost: constant.
  uint64_t digest(WorkerSlot worker) const { return known_of(worker).digest; }
  // Returns: how many distinct blocks the worker is known to hold.  Cost: constant.
  uint64_t blocks(WorkerSlot worker) const { return known_of(worker).blocks; }
  // Returns: false once a block of this worker was evicted or refused: its digest then differs from the worker's own.
  // clear() and replace() make it true again.
  bool is_complete(WorkerSlot worker) const { return known_of(worker).is_complete; }

  size_t workers() const;
  size_t distinct_blocks() const;
  // Returns: memory held, never above max_bytes. A few hundred KiB with nothing in it.
  size_t bytes() const;
  Counts counts() const;

 private:
  struct Worker {
    uint64_t digest = 0;
    uint64_t blocks = 0;
    bool is_live = false;
    bool is_complete = true;
  };
  // Workers that hold every block of the prompt so far.
  struct Candidates {
    uint64_t mask = 0;  // of non-zero words
    std::array<uint64_t, kMaxWorkers / 64> words;
  };

  Worker known_of(WorkerSlot worker) const;
  const Worker& worker_at(WorkerSlot worker) const REQUIRES(mutex_);
  Worker& worker_at(WorkerSlot worker) REQUIRES(mutex_);
  template <class IsKept>
  void keep_only(WorkerSlot worker, IsKept is_kept);
  template <class Piece>
  void in_pieces(WorkerSlot worker, std::span<const kv::BlockHash> blocks, Piece piece);
  template <class Visit>
  void for_each_ahead(std::span<const kv::BlockHash> blocks, bool is_erasing, Visit visit) const REQUIRES(mutex_);
  void store_block(WorkerSlot slot, kv::BlockHash block, BlockTable::Bucket* home) REQUIRES(mutex_);
  void remove_block(WorkerSlot slot, kv::BlockHash block, BlockTable::Bucket* home) REQUIRES(mutex_);
  void evict_near(kv::BlockHash block) REQUIRES(mutex_);
  void lose(WorkerSlot slot, kv::BlockHash block, bool was_told) REQUIRES(mutex_);
  void forget_block(WorkerSlot leaving, kv::BlockHash block, WorkerSet workers) REQUIRES(mutex_);
  bool drop(WorkerSlot slot, kv::BlockHash block, WorkerSet* workers) REQUIRES(mutex_);
  void start(WorkerSet first, Candidates* candidates) const REQUIRES(mutex_);
  void narrow(WorkerSet set, uint32_t depth, Candidates* candidates, std::vector<MatchedWorker>* out) const
      REQUIRES(mutex_);

  const Options options_;
  mutable FairMutex mutex_;
  BlockTable table_ GUARDED_BY(mutex_);
  WorkerSets sets_ GUARDED_BY(mutex_);
  std::vector<Worker> workers_ GUARDED_BY(mutex_);
  std::vector<uint32_t> free_workers_ GUARDED_BY(mutex_);
  std::vector<BlockTable::Evicted> evicted_ GUARDED_BY(mutex_);  // scratch
  Counts counts_ GUARDED_BY(mutex_);
};

}  // namespace dynamo::router
