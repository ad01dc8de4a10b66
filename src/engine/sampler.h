// Draws the next token from a row of logits.
//
// Order of what changes the distribution: generate/generate_request.h. The draw is a pure function of the logits, the request's
// settings, its seed and the output index (engine/philox.h), so it does not depend on what else is in the batch.
// Threads: one; keeps scratch memory between calls.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/status.h"
#include "engine/step_runner.h"

namespace dynamo::engine {

class Sampler {
 public:
  // `logits` [vocab] are changed in place; no setting within generate/sampling_limits.h makes one of them NaN or infinite.
  // Errors: kInternal (as they came, one is NaN or infinite, or none is finite), kInvalid (the masked tokens leave none).
  // Cost: linear in the vocabulary; top-p without top-k looks at as many of the most likely tokens as it needs.
  Result<DrawnToken> draw(std::span<float> logits, const SampleInput& input);

 private:
  struct Candidate {
    TokenId token;
    float logit;
  };

  bool penalize(std::span<float> logits, const SampleInput& input);
  void most_likely(std::span<const float> logits, size_t count);
  TokenLogprobs logprobs_of(std::span<const float> logits, TokenId drawn, uint32_t count, float largest);
  TokenId draw_one(std::span<const float> logits, const SampleInput& input, float largest);

  std::vector<Candidate> candidates_;
  std::vector<uint32_t> counts_;  // occurrences in the output, per token; zero between calls
};

}  // namespace dynamo::engine
