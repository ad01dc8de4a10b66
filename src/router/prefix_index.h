// The router's knowledge of which worker holds which block.
//
// A block's hash stands for the whole prefix up to it, so that a worker holds a prompt's beginning as far as it holds the blocks of
// its chain without a gap. Threads: one at a time.
#pragma once

#include <cstdint>
#include <span>
#include <unordered_map>
#include <vector>

#include "kv/block_hash.h"

namespace dynamo::router {

using WorkerSlot = uint32_t;  // small, reused after remove_worker()

struct MatchedWorker {
  WorkerSlot worker = 0;
  uint32_t blocks = 0;  // leading blocks of the chain that it holds, at least 1
};

class PrefixIndex {
 public:
  WorkerSlot add_worker();
  void remove_worker(WorkerSlot worker);

  // Storing what is held and removing what is not changes nothing.
  void store(WorkerSlot worker, std::span<const kv::BlockHash> blocks);
  void remove(WorkerSlot worker, std::span<const kv::BlockHash> blocks);
  void clear(WorkerSlot worker);
  // From now on the worker holds exactly these.
  void replace(WorkerSlot worker, std::span<const kv::BlockHash> blocks);

  // The workers that hold chain[0], with how far each holds the chain without a gap.
  void match(std::span<const kv::BlockHash> chain, std::vector<MatchedWorker>* out) const;

  uint64_t digest(WorkerSlot worker) const { return workers_.at(worker).digest; }  // wrapping sum of the hashes held
  uint64_t blocks(WorkerSlot worker) const { return workers_.at(worker).blocks; }
  size_t distinct_blocks() const { return holders_.size(); }

 private:
  struct Worker {
    uint64_t digest = 0;
    uint64_t blocks = 0;
  };
  std::unordered_map<kv::BlockHash, std::vector<WorkerSlot>> holders_;
  std::vector<Worker> workers_;
  std::vector<WorkerSlot> free_;
};

}  // namespace dynamo::router
