// Draws the next token from a row of logits.
//
// Order of what changes the distribution: base/sampling.h. The draw is a pure function of the logits, the request's
// settings, its seed and the output index (kernels/philox.h), so it does not depend on what else is in the batch.
// Threads: one; keeps scratch memory between calls.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/status.h"
#include "kernels/cpu/cpu_step.h"
#include "kernels/step.h"

namespace dynamo::kernels {

class Sampler {
 public:
  // `drawn` has what of the output the host does not know. `logits` [vocab] are changed in place; no setting within
  // generate/sampling_limits.h makes one of them NaN or infinite.
  // Errors: kInternal (as they came, one is NaN or infinite, or none is finite), kInvalid (none is left to draw).
  // Cost: linear in the vocabulary; top-p without top-k looks at as many of the most likely tokens as it needs.
  Result<DrawnToken> draw(std::span<float> logits, const Draw& draw, const DrawnTokens& drawn);

 private:
  struct Candidate {
    TokenId token;
    float logit;
  };

  bool penalize(std::span<float> logits, const Draw& draw, const DrawnTokens& drawn);
  void most_likely(std::span<const float> logits, size_t count);
  TokenLogprobs logprobs_of(std::span<const float> logits, TokenId drawn, uint32_t count, float largest);
  TokenId draw_one(std::span<const float> logits, const Draw& draw, float largest);

  std::vector<Candidate> candidates_;
  std::vector<TokenId> pending_;  // of the output, after what the host knows
  std::vector<uint32_t> counts_;  // occurrences in the output, per token; zero between calls
};

}  // namespace dynamo::kernels
