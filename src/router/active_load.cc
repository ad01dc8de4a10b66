#include "router/active_load.h"

#include <algorithm>

namespace dynamo::router {

void ActiveLoad::add_worker(WorkerSlot worker) {
  if (worker.index >= workers_.size()) workers_.resize(worker.index + 1);
  workers_[worker.index] = {};
}

void ActiveLoad::remove_worker(WorkerSlot worker) {
  std::vector<Ticket> tickets;
  for (const auto& [ticket, request] : requests_)
    if (request.worker == worker) tickets.push_back(ticket);
  for (const Ticket ticket : tickets) free(ticket);
}

// Returns: how many blocks both begin with. The first is known to be the same.
size_t ActiveLoad::common(const Edge& edge, std::span<const kv::BlockHash> rest) {
  size_t same = 1;
  size_t differs = std::min(edge.blocks.size(), rest.size());
  while (same < differs) {
    const size_t middle = same + (differs - same) / 2;
    if (edge.blocks[middle] == rest[middle]) {
      same = middle + 1;
    } else {
      differs = middle;
    }
  }
  return same;
}

ActiveLoad::Edge* ActiveLoad::find(kv::BlockHash first) const {
  const auto found = edges_.find(first.bits);
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

ActiveLoad::Edge* ActiveLoad::new_edge(std::span<const kv::BlockHash> blocks, Edge* parent) {
  auto edge = std::make_unique<Edge>();
  edge->blocks.assign(blocks.begin(), blocks.end());
  adopt(parent, edge.get());
  return (edges_[blocks.front().bits] = std::move(edge)).get();
}

// The blocks before `at` become an edge of their own above this one, which keeps the requests that end with it.
void ActiveLoad::split(Edge* edge, size_t at) {
  auto lower = std::move(edges_[edge->blocks.front().bits]);
  Edge* const parent = edge->parent;
  disown(edge);
  Edge* const upper = new_edge(std::span(edge->blocks).first(at), parent);
  upper->holders = edge->holders;
  edge->blocks.erase(edge->blocks.begin(), edge->blocks.begin() + static_cast<ptrdiff_t>(at));
  adopt(upper, edge);
  edges_[edge->blocks.front().bits] = std::move(lower);
}

// Undoes a split when nobody parts or ends here any more.
void ActiveLoad::merge_into_child(Edge* edge) {
  Edge* const child = edge->children.front();
  const auto upper = std::move(edges_[edge->blocks.front().bits]);
  auto lower = std::move(edges_[child->blocks.front().bits]);
  edges_.erase(child->blocks.front().bits);
  child->blocks.insert(child->blocks.begin(), edge->blocks.begin(), edge->blocks.end());
  disown(edge);
  adopt(edge->parent, child);
  edges_[child->blocks.front().bits] = std::move(lower);
}

ActiveLoad::Ticket ActiveLoad::add(WorkerSlot worker, uint64_t prefill_tokens, std::span<const kv::BlockHash> chain) {
  WorkerLoad& load = workers_[worker.index];
  Edge* last = nullptr;
  while (!chain.empty()) {
    Edge* edge = find(chain.front());
    if (edge == nullptr) {
      edge = new_edge(chain, last);
    } else if (const size_t same = common(*edge, chain); same < edge->blocks.size()) {
      const kv::BlockHash first = chain.front();
      split(edge, same);
      edge = find(first);
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
  requests_[++last_ticket_] = {worker, prefill_tokens, 0, last};
  return last_ticket_;
}

void ActiveLoad::match(std::span<const kv::BlockHash> chain, std::vector<uint32_t>* by_slot) const {
  by_slot->assign(workers_.size(), 0);
  uint32_t depth = 0;
  while (depth < chain.size()) {
    const Edge* edge = find(chain[depth]);
    if (edge == nullptr) return;
    const size_t same = common(*edge, chain.subspan(depth));
    depth += static_cast<uint32_t>(same);
    for (const Holder& holder : edge->holders) (*by_slot)[holder.worker] = depth;
    if (same < edge->blocks.size()) return;
  }
}

void ActiveLoad::prefill_done(Ticket ticket) {
  const auto found = requests_.find(ticket);
  if (found == requests_.end()) return;
  workers_[found->second.worker.index].prefill_tokens -= found->second.prefill_tokens;
  found->second.prefill_tokens = 0;
}

void ActiveLoad::grow(Ticket ticket, uint64_t blocks) {
  const auto found = requests_.find(ticket);
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
    edges_.erase(edge->blocks.front().bits);
  } else if (edge->children.size() == 1 && edge->children.front()->holders == edge->holders) {
    merge_into_child(edge);
  }
}

void ActiveLoad::free(Ticket ticket) {
  const auto found = requests_.find(ticket);
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
