#include "router/guessed_blocks.h"

namespace dynamo::router {

void GuessedBlocks::sent(WorkerSlot worker, const std::vector<kv::BlockHash>& chain, Time now) {
  for (const kv::BlockHash& block : chain) ++times_[worker][block];
  index_->store(worker, chain);
  sent_.push_back({now, worker, chain});
}

void GuessedBlocks::expire(Time now) {
  while (!sent_.empty() && sent_.front().at + lifetime_ <= now) {
    const Sent old = std::move(sent_.front());
    sent_.pop_front();
    const auto times = times_.find(old.worker);
    if (times == times_.end()) continue;
    std::vector<kv::BlockHash> gone;
    for (const kv::BlockHash& block : old.chain) {
      const auto found = times->second.find(block);
      if (found == times->second.end() || --found->second > 0) continue;
      times->second.erase(found);
      gone.push_back(block);
    }
    index_->remove(old.worker, gone);
  }
}

void GuessedBlocks::remove_worker(WorkerSlot worker) {
  times_.erase(worker);
  std::erase_if(sent_, [&](const Sent& sent) { return sent.worker == worker; });
}

}  // namespace dynamo::router
