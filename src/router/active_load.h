// What each worker is working on, as far as routers know: exact for what is in flight.
//
// A request counts its uncached prompt tokens until its first token, and the distinct blocks of its prompt plus what its answer has
// grown until it ends. Blocks that two requests of a worker share count once.  Threads: one at a time.
#pragma once

#include <cstdint>
#include <span>
#include <unordered_map>
#include <vector>

#include "kv/block_hash.h"
#include "router/prefix_index.h"

namespace dynamo::router {

struct WorkerLoad {
  uint64_t requests = 0;
  uint64_t prefill_tokens = 0;  // of prompts, not computed yet
  uint64_t blocks = 0;          // distinct, prompts and answers
};

class ActiveLoad {
 public:
  using Ticket = uint64_t;  // one request in flight; never 0

  // Errors: kExhausted (as many workers as PrefixIndex takes).
  Result<WorkerSlot> add_worker();
  // Forgets the worker's requests too; their tickets mean nothing from then on.
  void remove_worker(WorkerSlot worker);

  Ticket add(WorkerSlot worker, uint64_t prefill_tokens, std::vector<kv::BlockHash> chain);
  // Unknown tickets are ignored by all three.
  void prefill_done(Ticket ticket);
  void grow(Ticket ticket, uint64_t blocks);
  void free(Ticket ticket);

  const WorkerLoad& of(WorkerSlot worker) const { return workers_[worker.index].load; }
  // For each worker that works on the chain's beginning: how many of its blocks.
  void match(std::span<const kv::BlockHash> chain, std::vector<MatchedWorker>* out) { active_.match(chain, out); }
  size_t in_flight() const { return requests_.size(); }

 private:
  struct Request {
    WorkerSlot worker;
    uint64_t prefill_tokens = 0;
    uint64_t grown = 0;
    std::vector<kv::BlockHash> chain;
  };
  struct Worker {
    WorkerLoad load;
    std::vector<const Request*> requests;
  };
  static size_t shared_with_others(const Worker& worker, const Request& request);

  PrefixIndex active_{PrefixIndex::Options{.max_bytes = size_t{1} << 30}};  // grows with what is in flight
  std::vector<Worker> workers_;                                             // by slot of active_
  std::unordered_map<Ticket, Request> requests_;
  Ticket last_ticket_ = 0;
};

}  // namespace dynamo::router
