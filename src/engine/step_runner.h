// Runs the steps of the engine: what the scheduler chose, computed and drawn.
//
// The engine knows blocks, sequences and time; a StepRunner knows numbers. Ours runs a model (engine/model_runner.h); a
// simulated one (the mocker) returns made-up tokens after a computed time; tests use a fake. Steps may overlap with the
// engine's work: up to depth() of them are begun and not finished, and they are computed in the order they began in.
// Threads: called on the engine's thread only.
#pragma once

#include <cstdint>
#include <vector>

#include "base/sampling.h"
#include "base/status.h"
#include "kernels/step.h"

namespace dynamo::engine {

class StepRunner {
 public:
  virtual ~StepRunner() = default;
  virtual uint32_t depth() const = 0;  // > 0
  // Begins to compute the KV of every row and to draw a token for each of `step.draws`. The step is as
  // kernels::Backend::begin takes it. On an error it is not begun. Requires: fewer than depth() steps are under way.
  // Errors: kInternal or kUnavailable (the device failed): none of the step's sequences can go on here.
  virtual Status begin(const kernels::Step& step) = 0;
  // Waits for the oldest step begun, which is finished then, whatever comes of it.
  // Returns: a result per draw, in order. An error there is of that sequence alone: kInvalid (what it asks for leaves
  // no token to draw), kInternal (its logits are no numbers, so its KV may not be either).
  // Errors: as begin(). Requires: a step is under way.
  virtual Result<std::vector<Result<DrawnToken>>> finish() = 0;
};

}  // namespace dynamo::engine
