#include "router/active_load.h"

#include <algorithm>
#include <cstring>
#include <type_traits>

#include "base/check.h"

namespace dynamo::router {

void ActiveLoad::add_worker(WorkerSlot worker) {
  if (worker.index >= workers_.size()) workers_.resize(worker.index + 1);
  workers_[worker.index] = {};
}

void ActiveLoad::remove_worker(WorkerSlot worker) {
  std::vector<Id> ids;
  for (const auto& [id, request] : requests_)
    if (request.worker == worker) ids.push_back(id);
  for (const Id id : ids) free(id);
}

// Returns: how many blocks both begin with. Not by bisection: equal hashes at a place do not make what is before it
// equal.
size_t ActiveLoad::common(const Edge& edge, std::span<const kv::BlockHash> rest) {
  constexpr size_t kStride = 32;  // compared at once, as bytes
  static_assert(std::has_unique_object_representations_v<kv::BlockHash>);
  const size_t most = std::min(edge.blocks.size(), rest.size());
  size_t same = 0;
  while (most - same >= kStride && std::memcmp(&edge.blocks[same], &rest[same], kStride * sizeof(kv::BlockHash)) == 0)
    same += kStride;
  while (same < most && edge.blocks[same] == rest[same]) ++same;
  return same;
}

ActiveLoad::Edge* ActiveLoad::find(const Edge* parent, kv::BlockHash first) const {
  const auto found = edges_.find({parent, first});
  return found == edges_.end() ? nullptr : found->second.get();
}

void ActiveLoad::adopt(Edge* parent, Edge* child) {
  child->parent = parent;
  if (parent == nullptr) return;
  child->place = parent->children.size();
  parent->children.push_back(child);
}

void ActiveLoad::disown(Edge* child) {
  if (child->parent == nullptr) return;
  auto& siblings = child->parent->children;
  siblings[child->place] = siblings.back();
  siblings[child->place]->place = child->place;
  siblings.pop_back();
}

// Requires: the parent has no edge that begins with the same block.
ActiveLoad::Edge* ActiveLoad::new_edge(std::span<const kv::BlockHash> blocks, Edge* parent) {
  auto edge = std::make_unique<Edge>();
  edge->blocks.assign(blocks.begin(), blocks.end());
  adopt(parent, edge.get());
  const auto [place, is_new] = edges_.try_emplace(key_of(*edge), std::move(edge));
  CHECK(is_new);
  return place->second.get();
}

// The blocks before `at` become an edge of their own above this one, which keeps the requests that end with it.
// Returns: the new edge.
ActiveLoad::Edge* ActiveLoad::split(Edge* edge, size_t at) {
  auto lower = edges_.extract(key_of(*edge));
  Edge* const parent = edge->parent;
  disown(edge);
  Edge* const upper = new_edge(std::span(edge->blocks).first(at), parent);
  upper->holders = edge->holders;
  edge->blocks.erase(edge->blocks.begin(), edge->blocks.begin() + static_cast<ptrdiff_t>(at));
  adopt(upper, edge);
  lower.key() = key_of(*edge);
  CHECK(edges_.insert(std::move(lower)).inserted);
  return upper;
}

// Undoes a split when nobody parts or ends here any more.
void ActiveLoad::merge_into_child(Edge* edge) {
  const auto upper = edges_.extract(key_of(*edge));
  auto lower = edges_.extract(key_of(*edge->children.front()));
  Edge* const child = lower.mapped().get();
  child->blocks.insert(child->blocks.begin(), edge->blocks.begin(), edge->blocks.end());
  disown(edge);
  adopt(edge->parent, child);
  lower.key() = key_of(*child);
  CHECK(edges_.insert(std::move(lower)).inserted);
}

ActiveLoad::Id ActiveLoad::add(WorkerSlot worker, uint64_t prefill_tokens, std::span<const kv::BlockHash> chain) {
  WorkerLoad& load = workers_[worker.index];
  Edge* last = nullptr;
  while (!chain.empty()) {
    Edge* edge = find(last, chain.front());
    if (edge == nullptr) {
      edge = new_edge(chain, last);
    } else if (const size_t same = common(*edge, chain); same < edge->blocks.size()) {
      edge = split(edge, same);
    }
    const auto holder = std::ranges::lower_bound(edge->holders, worker.index, {}, &Holder::worker);
    if (holder != edge->holders.end() && holder->worker == worker.index) {
      ++holder->requests;
    } else {
      edge->holders.insert(holder, Holder{worker.index, 1});
      load.blocks += edge->blocks.size();
    }
    chain = chain.subspan(edge->blocks.size());
    last = edge;
  }
  load.requests += 1;
  load.prefill_tokens += prefill_tokens;
  requests_[++last_id_] = {worker, prefill_tokens, 0, last};
  return last_id_;
}

void ActiveLoad::match(std::span<const kv::BlockHash> chain, std::vector<uint32_t>* by_slot) const {
  by_slot->assign(workers_.size(), 0);
  uint32_t depth = 0;
  const Edge* edge = nullptr;
  while (depth < chain.size()) {
    edge = find(edge, chain[depth]);
    if (edge == nullptr) return;
    const size_t same = common(*edge, chain.subspan(depth));
    depth += static_cast<uint32_t>(same);
    for (const Holder& holder : edge->holders) (*by_slot)[holder.worker] = depth;
    if (same < edge->blocks.size()) return;
  }
}

void ActiveLoad::prefill_done(Id id) {
  const auto found = requests_.find(id);
  if (found == requests_.end()) return;
  workers_[found->second.worker.index].prefill_tokens -= found->second.prefill_tokens;
  found->second.prefill_tokens = 0;
}

void ActiveLoad::grow(Id id, uint64_t blocks) {
  const auto found = requests_.find(id);
  if (found == requests_.end()) return;
  workers_[found->second.worker.index].blocks += blocks;
  found->second.grown += blocks;
}

// A request of the worker leads through the edge no more.
void ActiveLoad::leave(Edge* edge, WorkerSlot worker) {
  const auto holder = std::ranges::lower_bound(edge->holders, worker.index, {}, &Holder::worker);
  if (--holder->requests == 0) {
    workers_[worker.index].blocks -= edge->blocks.size();
    edge->holders.erase(holder);
  }
  if (edge->holders.empty()) {
    disown(edge);
    edges_.erase(key_of(*edge));
  } else if (edge->children.size() == 1 && edge->children.front()->holders == edge->holders) {
    merge_into_child(edge);
  }
}

void ActiveLoad::free(Id id) {
  const auto found = requests_.find(id);
  if (found == requests_.end()) return;
  const Request& request = found->second;
  for (Edge* edge = request.last; edge != nullptr;) {
    Edge* const parent = edge->parent;
    leave(edge, request.worker);
    edge = parent;
  }
  WorkerLoad& load = workers_[request.worker.index];
  load.requests -= 1;
  load.prefill_tokens -= request.prefill_tokens;
  load.blocks -= request.grown;
  requests_.erase(found);
}

}  // namespace dynamo::router
