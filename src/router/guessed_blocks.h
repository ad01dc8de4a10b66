// Without KV events: a worker is thought to hold the blocks of what was sent to it, for a while.
//
// Every decision renews its prompt's blocks; what was not renewed for `lifetime` is taken out of the index.  Threads:
// one at a time.  Private to the module.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <unordered_map>
#include <vector>

#include "base/clock.h"
#include "kv/block_hash.h"
#include "router/prefix_index.h"

namespace dynamo::router {

class GuessedBlocks {
 public:
  GuessedBlocks(PrefixIndex* index, Duration lifetime) : index_(index), lifetime_(lifetime) {}

  void sent(WorkerSlot worker, const std::vector<kv::BlockHash>& chain, Time now);
  void expire(Time now);
  void remove_worker(WorkerSlot worker);

 private:
  struct Sent {
    Time at;
    WorkerSlot worker;
    std::vector<kv::BlockHash> chain;
  };
  PrefixIndex* index_;
  Duration lifetime_;
  std::deque<Sent> sent_;                                                    // oldest first
  std::map<WorkerSlot, std::unordered_map<kv::BlockHash, uint32_t>> times_;  // how often a block is in sent_
};

}  // namespace dynamo::router
