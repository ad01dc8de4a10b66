#include "router/prefix_index.h"

#include <algorithm>

namespace dynamo::router {

WorkerSlot PrefixIndex::add_worker() {
  if (!free_.empty()) {
    const WorkerSlot worker = free_.back();
    free_.pop_back();
    return worker;
  }
  workers_.emplace_back();
  return static_cast<WorkerSlot>(workers_.size() - 1);
}

void PrefixIndex::remove_worker(WorkerSlot worker) {
  clear(worker);
  free_.push_back(worker);
}

void PrefixIndex::store(WorkerSlot worker, std::span<const kv::BlockHash> blocks) {
  for (const kv::BlockHash& block : blocks) {
    std::vector<WorkerSlot>& holders = holders_[block];
    if (std::ranges::find(holders, worker) != holders.end()) continue;
    holders.push_back(worker);
    workers_[worker].digest += block.bits;
    ++workers_[worker].blocks;
  }
}

void PrefixIndex::remove(WorkerSlot worker, std::span<const kv::BlockHash> blocks) {
  for (const kv::BlockHash& block : blocks) {
    const auto found = holders_.find(block);
    if (found == holders_.end() || std::erase(found->second, worker) == 0) continue;
    if (found->second.empty()) holders_.erase(found);
    workers_[worker].digest -= block.bits;
    --workers_[worker].blocks;
  }
}

void PrefixIndex::clear(WorkerSlot worker) {
  for (auto it = holders_.begin(); it != holders_.end();) {
    std::erase(it->second, worker);
    it = it->second.empty() ? holders_.erase(it) : std::next(it);
  }
  workers_[worker] = {};
}

void PrefixIndex::replace(WorkerSlot worker, std::span<const kv::BlockHash> blocks) {
  clear(worker);
  store(worker, blocks);
}

void PrefixIndex::match(std::span<const kv::BlockHash> chain, std::vector<MatchedWorker>* out) const {
  out->clear();
  for (size_t depth = 0; depth < chain.size(); ++depth) {
    const auto found = holders_.find(chain[depth]);
    if (found == holders_.end()) return;
    if (depth == 0) {
      for (const WorkerSlot worker : found->second) out->push_back({worker, 1});
      continue;
    }
    bool is_any = false;
    for (MatchedWorker& matched : *out) {
      if (matched.blocks != depth || std::ranges::find(found->second, matched.worker) == found->second.end()) continue;
      matched.blocks = static_cast<uint32_t>(depth) + 1;
      is_any = true;
    }
    if (!is_any) return;
  }
}

}  // namespace dynamo::router
