// What each worker is working on, as far as routers know: exact for what is in flight.
//
// A request counts its uncached prompt tokens until its first token, and the distinct blocks of its prompt plus what
// its answer has grown until it ends. Blocks that two requests of a worker share count once.
// The prompts in flight are kept as a radix tree (Zheng et al. 2023 (SGLang), 3) whose edges hold as many blocks as
// nobody parts within. An edge is found by the edge before it and its first block, and is compared block by block: a
// hash stands for nothing but itself here. Clients can make blocks whose hashes collide, so a chain may hold a hash
// twice, or one that others hold after other blocks. Chains count as different where any hash of them differs; blocks
// of other tokens whose whole chains are equal count as shared, which makes a worker look less busy, and no more.
// Threads: one at a time.  Private to the module.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
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
  using Id = uint64_t;  // of one request in flight; never 0

  void add_worker(WorkerSlot worker);
  // Forgets the worker's requests too; their ids mean nothing from then on.
  void remove_worker(WorkerSlot worker);

  // Requires: the worker was added.  Cost: a look-up per edge on the way; its blocks are compared, and those that no
  // request in flight has are copied.
  Id add(WorkerSlot worker, uint64_t prefill_tokens, std::span<const kv::BlockHash> chain);
  // Unknown ids are ignored by all three.
  void prefill_done(Id id);
  void grow(Id id, uint64_t blocks);
  void free(Id id);

  const WorkerLoad& of(WorkerSlot worker) const { return workers_[worker.index]; }
  // Sets `by_slot` to how many of the chain's leading blocks each worker works on; as long as the highest slot needs.
  void match(std::span<const kv::BlockHash> chain, std::vector<uint32_t>* by_slot) const;
  size_t in_flight() const { return requests_.size(); }
  size_t edges() const { return edges_.size(); }

 private:
  struct Holder {
    uint32_t worker;
    uint32_t requests;
    bool operator==(const Holder&) const = default;
  };
  struct Edge {
    std::vector<kv::BlockHash> blocks;  // not empty
    Edge* parent = nullptr;             // nullptr: prompts begin with it
    std::vector<Edge*> children;
    size_t place = 0;             // among the parent's children
    std::vector<Holder> holders;  // whose requests lead through here, by worker
  };
  struct Request {
    WorkerSlot worker;
    uint64_t prefill_tokens = 0;
    uint64_t grown = 0;
    Edge* last = nullptr;  // the prompt ends with it; nullptr: no blocks
  };

  struct Key {
    const Edge* parent;
    kv::BlockHash first;
    bool operator==(const Key&) const = default;
  };
  struct KeyHash {
    size_t operator()(const Key& key) const noexcept {
      return std::hash<kv::BlockHash>()({key.first.bits ^ reinterpret_cast<uintptr_t>(key.parent)});
    }
  };

  static Key key_of(const Edge& edge) { return {edge.parent, edge.blocks.front()}; }
  static size_t common(const Edge& edge, std::span<const kv::BlockHash> rest);
  Edge* find(const Edge* parent, kv::BlockHash first) const;
  Edge* new_edge(std::span<const kv::BlockHash> blocks, Edge* parent);
  Edge* split(Edge* edge, size_t at);
  void merge_into_child(Edge* edge);
  void leave(Edge* edge, WorkerSlot worker);
  static void adopt(Edge* parent, Edge* child);
  static void disown(Edge* child);

  std::vector<WorkerLoad> workers_;  // by slot
  std::unordered_map<Key, std::unique_ptr<Edge>, KeyHash> edges_;
  std::unordered_map<Id, Request> requests_;
  Id last_id_ = 0;
};

}  // namespace dynamo::router
