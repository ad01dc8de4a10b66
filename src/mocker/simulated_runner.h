// A StepRunner that computes nothing: it takes the time that a device would, and makes tokens up.
//
// Scheduler, block pool, KV events and everything around are the real ones, so routers are tested and measured on it.
// The time of a step, in milliseconds, before it is divided by the speed-up:
//   base + prefill_token * p + prefill_pair * q + decode_sequence * d + decode_token * c
// p: prompt tokens computed in the step; q: pairs of a computed prompt token and a token it looks at, in millions; d: sequences that
// decode; c: tokens in their caches, in thousands. Linear in the work, quadratic in a prompt, as attention is.
// Threads: the engine's.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string_view>

#include "base/status.h"
#include "engine/step_runner.h"
#include "kernels/paged_batch.h"

namespace dynamo::mocker {

// Milliseconds. The defaults are of the order of an 8-billion-parameter model on one large GPU.
struct CostProfile {
  double base = 4.0;
  double prefill_token = 0.05;
  double prefill_pair = 0.4;  // per million pairs
  double decode_sequence = 0.05;
  double decode_token = 0.01;  // per thousand tokens of cache
};

// Members as above, each optional. Errors: kInvalid (no object, an unknown member, a negative or no number, by name).
Result<CostProfile> profile_from_json(std::string_view text);

// The time of a step at speed-up 1.
std::chrono::nanoseconds step_time(const CostProfile& profile, const kernels::PagedBatch& batch);

struct SimulationOptions {
  CostProfile profile;
  double speedup = 1;        // > 0
  uint32_t first_token = 0;  // made-up tokens are in [first_token, last_token)
  uint32_t last_token = 1;
  uint32_t depth = 1;  // steps under way, > 0; they take their times one after the other
};

// `sleep` passes the time; tests and simulations bring their own. Tokens depend on the sequence's tokens alone.
std::unique_ptr<engine::StepRunner> make_simulated_runner(SimulationOptions options,
                                                          std::function<void(std::chrono::nanoseconds)> sleep);

}  // namespace dynamo::mocker
