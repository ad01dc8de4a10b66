// The side of a hand-off that computes: takes a prompt from another worker and writes its KV blocks into that worker's pool, chunk by
// chunk while the rest is computed, and with the last of them the token that follows. Protocol: docs/reference/handoff.md.
// Threads: any.  Private to the module.
#pragma once

#include <memory>

#include "base/clock.h"
#include "base/metrics.h"
#include "base/task.h"
#include "engine/engine.h"
#include "generate/prefill_order.h"
#include "handoff/block_mover.h"

namespace dynamo::handoff {

// Called by BothSides::answer(), for the EngineHost that the worker's service asks (worker/worker_service.h).
class PrefillSide {
 public:
  // All outlive this, and the engine is stopped before.
  PrefillSide(uint32_t block_tokens, engine::Engine* engine, BlockMover* mover, const Clock* clock, Metrics* metrics,
              const MetricLabels& labels);

  // Answers one request. While the prompt waits or is computed, the asker is told that the engine gets on, every 5 s or more often if
  // the request's silence_limit asks for that.
  // Returns when nothing more will be written. Dropped before, the asker is told by a notice when nothing more will be.
  // Errors: kInvalid (blocks that do not fit the prompt or the pool), those of BlockMover::route and of the engine, of the transfer.
  Task<Result<PrefillReport>> answer(PrefillOrder order);
  // How fast prompts travel, lately; 0: none has yet.
  double transfer_tokens_per_second() const;

 private:
  class Room;
  struct Counters;
  Task<Status> compute(const PrefillOrder* order, std::shared_ptr<Room>* room);

  uint32_t block_tokens_;
  engine::Engine* engine_;
  BlockMover* mover_;
  const Clock* clock_;
  std::shared_ptr<Counters> counters_;
};

}  // namespace dynamo::handoff
