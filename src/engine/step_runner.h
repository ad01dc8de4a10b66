// Runs one step of the engine: what the scheduler chose, computed and sampled.
//
// The engine knows blocks, sequences and time; a StepRunner knows numbers. Ours runs a model (engine/model_runner.h); a
// simulated one (the mocker) returns made-up tokens after a computed time; tests use a fake. Threads: called on the
// engine's thread only.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "base/ids.h"
#include "base/status.h"
#include "generate/generate_request.h"
#include "kernels/paged_batch.h"

namespace dynamo::engine {

// One sequence's turn in a step. Pointers are valid during run().
struct SampleInput {
  uint32_t row = 0;  // of the step, the sequence's last
  const SamplingParams* sampling = nullptr;
  uint64_t seed = 0;  // the request's, or the one the engine picked
  std::span<const TokenId> prompt;
  std::span<const TokenId> output;  // generated before this step; its size is the output index
  std::span<const TokenId> masked;  // ids that must not be drawn (stop ids before min_tokens)
  std::optional<uint32_t> logprobs;
};

struct StepInput {
  kernels::PagedBatch paged;
  std::vector<TokenId> tokens;       // one per row
  std::vector<SampleInput> samples;  // one per sequence that draws a token, in row order
  // To be called between the parts of a step that may take long (a layer): it shows that the device gets on. May be null.
  std::function<void()> gets_on;
};

struct DrawnToken {
  TokenId token = 0;
  TokenLogprobs logprobs;  // filled if asked
};

class StepRunner {
 public:
  virtual ~StepRunner() = default;
  // Computes the KV of every row and draws one token for each of `input.samples`, in their order.
  // Returns: a result per sample. An error there is of that sequence alone: kInvalid (what it asks for leaves no token to
  // draw), kInternal (its logits are no numbers, so its KV may not be either).
  // Errors: kInternal or kUnavailable (the device failed): none of the step's sequences can go on here.
  virtual Result<std::vector<Result<DrawnToken>>> run(const StepInput& input) = 0;
};

}  // namespace dynamo::engine
