#include "router/active_load.h"

#include "base/check.h"

namespace dynamo::router {

WorkerSlot ActiveLoad::add_worker() {
  const WorkerSlot worker = active_.add_worker();
  if (worker >= workers_.size()) workers_.resize(worker + 1);
  workers_[worker] = {};
  return worker;
}

void ActiveLoad::remove_worker(WorkerSlot worker) {
  std::erase_if(requests_, [&](const auto& one) { return one.second.worker == worker; });
  workers_[worker] = {};
  active_.remove_worker(worker);
}

ActiveLoad::Ticket ActiveLoad::add(WorkerSlot worker, uint64_t prefill_tokens, std::vector<kv::BlockHash> chain) {
  Worker& on = workers_[worker];
  size_t known = 0;  // a chain's blocks in use are its first ones
  for (const kv::BlockHash& block : chain)
    if (++on.users[block] > 1) ++known;
  active_.store(worker, chain);
  on.load.requests += 1;
  on.load.prefill_tokens += prefill_tokens;
  on.load.blocks += chain.size() - known;
  requests_.emplace(++last_ticket_, Request{worker, prefill_tokens, 0, std::move(chain)});
  return last_ticket_;
}

void ActiveLoad::prefill_done(Ticket ticket) {
  const auto found = requests_.find(ticket);
  if (found == requests_.end()) return;
  workers_[found->second.worker].load.prefill_tokens -= found->second.prefill_tokens;
  found->second.prefill_tokens = 0;
}

void ActiveLoad::grow(Ticket ticket, uint64_t blocks) {
  const auto found = requests_.find(ticket);
  if (found == requests_.end()) return;
  workers_[found->second.worker].load.blocks += blocks;
  found->second.grown += blocks;
}

void ActiveLoad::free(Ticket ticket) {
  const auto found = requests_.find(ticket);
  if (found == requests_.end()) return;
  const Request request = std::move(found->second);
  requests_.erase(found);
  Worker& on = workers_[request.worker];
  std::vector<kv::BlockHash> unused;
  for (const kv::BlockHash& block : request.chain) {
    const auto users = on.users.find(block);
    CHECK(users != on.users.end());
    if (--users->second > 0) continue;
    on.users.erase(users);
    unused.push_back(block);
  }
  active_.remove(request.worker, unused);
  on.load.requests -= 1;
  on.load.prefill_tokens -= request.prefill_tokens;
  on.load.blocks -= unused.size() + request.grown;
}

}  // namespace dynamo::router
