// What a worker's heartbeats say of its work beyond what this router has sent there. Every count is of both together.
// A heartbeat older than 5 s says nothing of now, but rates last.
// Threads: one at a time.  Private to the module.
#pragma once

#include <cstdint>

#include "base/clock.h"
#include "router/active_load.h"
#include "wire/bus_messages.h"

namespace dynamo::router {

class WorkerReport {
 public:
  // `load` is this router's at the worker, here and in all that follows.
  void on_heartbeat(const wire::Heartbeat& heartbeat, const WorkerLoad& load, Time now);
  // The load has grown.
  void on_load(const WorkerLoad& load);

  // Prompt tokens to compute there before a new prompt.
  uint64_t waiting_tokens(const WorkerLoad& load, Time now) const {
    return load.prefill_tokens + (is_fresh(now) ? unknown_tokens_ : 0);
  }
  // In flight there, running or in line, whoever sent them.
  uint64_t sequences(const WorkerLoad& load, Time now) const {
    return load.requests + (is_fresh(now) ? unknown_sequences_ : 0);
  }
  uint64_t used_blocks(const WorkerLoad& load, Time now) const;
  // How many run there at once, `max_sequences` at most; 0: not known, there as here. Where some wait though fewer run
  // than may, the cache's blocks are what there are no more of.
  uint64_t places(uint64_t max_sequences, Time now) const;

  // Tokens per second; 0: not known.
  double prefill_rate() const { return prefill_rate_; }
  double transfer_rate() const { return transfer_rate_; }  // into other workers' pools

 private:
  static constexpr Duration kLife = std::chrono::seconds(5);
  bool is_fresh(Time now) const { return at_ + kLife > now; }

  Time at_{};
  uint64_t unknown_tokens_ = 0;
  uint64_t unknown_sequences_ = 0;
  // The most that this router knew of at once since the last heartbeat. What the next one counts may have ended here
  // before it comes.
  WorkerLoad known_;
  uint32_t full_at_ = 0;  // sequences that run there, if no more can
  uint32_t used_blocks_ = 0;
  double prefill_rate_ = 0;
  double transfer_rate_ = 0;
};

}  // namespace dynamo::router
