#include "router/active_load.h"

#include <algorithm>

namespace dynamo::router {

Result<WorkerSlot> ActiveLoad::add_worker() {
  auto worker = active_.add_worker();
  if (!worker.is_ok()) return worker;
  if (worker->index >= workers_.size()) workers_.resize(worker->index + 1);
  workers_[worker->index] = {};
  return worker;
}

void ActiveLoad::remove_worker(WorkerSlot worker) {
  std::erase_if(requests_, [&](const auto& one) { return one.second.worker == worker; });
  workers_[worker.index] = {};
  active_.remove_worker(worker);
}

// Returns: how many of the request's blocks another one of its worker has too. A block's hash stands for its prefix, so what two
// chains share is their beginning, and its end is found by bisection.
size_t ActiveLoad::shared_with_others(const Worker& worker, const Request& request) {
  size_t shared = 0;
  for (const Request* other : worker.requests) {
    const size_t both = std::min(other->chain.size(), request.chain.size());
    if (other == &request || both <= shared || other->chain[shared] != request.chain[shared]) continue;
    size_t differs = both;  // the first place that is known to, or the end
    for (++shared; shared < differs;) {
      const size_t middle = shared + (differs - shared) / 2;
      if (other->chain[middle] == request.chain[middle]) {
        shared = middle + 1;
      } else {
        differs = middle;
      }
    }
  }
  return shared;
}

ActiveLoad::Ticket ActiveLoad::add(WorkerSlot worker, uint64_t prefill_tokens, std::vector<kv::BlockHash> chain) {
  Worker& on = workers_[worker.index];
  Request& request =
      requests_.emplace(++last_ticket_, Request{worker, prefill_tokens, 0, std::move(chain)}).first->second;
  const size_t shared = shared_with_others(on, request);
  active_.store(worker, std::span(request.chain).subspan(shared));
  on.requests.push_back(&request);
  on.load.requests += 1;
  on.load.prefill_tokens += prefill_tokens;
  on.load.blocks += request.chain.size() - shared;
  return last_ticket_;
}

void ActiveLoad::prefill_done(Ticket ticket) {
  const auto found = requests_.find(ticket);
  if (found == requests_.end()) return;
  workers_[found->second.worker.index].load.prefill_tokens -= found->second.prefill_tokens;
  found->second.prefill_tokens = 0;
}

void ActiveLoad::grow(Ticket ticket, uint64_t blocks) {
  const auto found = requests_.find(ticket);
  if (found == requests_.end()) return;
  workers_[found->second.worker.index].load.blocks += blocks;
  found->second.grown += blocks;
}

void ActiveLoad::free(Ticket ticket) {
  const auto found = requests_.find(ticket);
  if (found == requests_.end()) return;
  const Request& request = found->second;
  Worker& on = workers_[request.worker.index];
  const size_t shared = shared_with_others(on, request);
  active_.remove(request.worker, std::span(request.chain).subspan(shared));
  std::erase(on.requests, &request);
  on.load.requests -= 1;
  on.load.prefill_tokens -= request.prefill_tokens;
  on.load.blocks -= request.chain.size() - shared + request.grown;
  requests_.erase(found);
}

}  // namespace dynamo::router
