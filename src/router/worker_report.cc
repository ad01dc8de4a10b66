#include "router/worker_report.h"

#include <algorithm>
#include <cmath>

namespace dynamo::router {
namespace {

// 0, not known, if what was told is no rate.
double rate_of(double told) {
  return std::isfinite(told) && told > 0 ? told : 0;
}

uint64_t beyond(uint64_t told, uint64_t known) {
  return told - std::min(told, known);
}

}  // namespace

void WorkerReport::on_heartbeat(const wire::Heartbeat& heartbeat, const WorkerLoad& load, Time now) {
  at_ = now;
  unknown_tokens_ = beyond(heartbeat.queued_tokens, known_.prefill_tokens);
  unknown_sequences_ = beyond(uint64_t{heartbeat.running} + heartbeat.waiting, known_.requests);
  known_ = load;
  full_at_ = heartbeat.is_full ? heartbeat.running : 0;
  used_blocks_ = heartbeat.used_blocks;
  prefill_rate_ = rate_of(heartbeat.prefill_tokens_per_second);
  transfer_rate_ = rate_of(heartbeat.transfer_tokens_per_second);
}

void WorkerReport::on_load(const WorkerLoad& load) {
  known_.requests = std::max(known_.requests, load.requests);
  known_.prefill_tokens = std::max(known_.prefill_tokens, load.prefill_tokens);
}

uint64_t WorkerReport::used_blocks(const WorkerLoad& load, Time now) const {
  return is_fresh(now) ? std::max<uint64_t>(load.blocks, used_blocks_) : load.blocks;
}

uint64_t WorkerReport::places(uint64_t max_sequences, Time now) const {
  if (!is_fresh(now) || full_at_ == 0) return max_sequences;
  return max_sequences == 0 ? full_at_ : std::min<uint64_t>(max_sequences, full_at_);
}

}  // namespace dynamo::router
