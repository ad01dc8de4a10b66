// How a token is drawn from the logits, and what is told of it: one meaning for clients, engines and devices.
// Threads: values.
#pragma once

#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "base/ids.h"

namespace dynamo {

// How the next token is drawn from the logits, in this order: repetition, presence and frequency penalties, logit
// bias, minimum tokens (stop ids masked), temperature, top-k, top-p, min-p, draw. Defaults change nothing. Ranges are
// those of generate/sampling_limits.h: an engine refuses anything else.
struct SamplingParams {
  float temperature = 1.0F;         // 0: the most likely token.  [0, 100]
  float top_p = 1.0F;               // smallest set of tokens whose probability reaches this.  [1e-6, 1]
  int32_t top_k = 0;                // the k most likely tokens; 0: all
  float min_p = 0.0F;               // at least this fraction of the most likely token's probability.  [0, 1]
  float repetition_penalty = 1.0F;  // over prompt and output; > 1 discourages.  [1e-4, 2]
  float presence_penalty = 0.0F;    // over output.  [-2, 2]
  float frequency_penalty = 0.0F;   // over output, per occurrence.  [-2, 2]
  std::optional<uint64_t> seed;     // same seed, same tokens, whatever else runs; absent: the engine picks one
  std::vector<std::pair<TokenId, float>> logit_bias;
};

struct TokenLogprob {
  TokenId token = 0;
  float logprob = 0;  // natural log, after penalties and bias, before temperature and truncation
};

struct TokenLogprobs {
  TokenLogprob drawn;
  std::vector<TokenLogprob> top;  // most likely first, as many as asked
};

struct DrawnToken {
  TokenId token = 0;
  TokenLogprobs logprobs;  // filled if asked
};

}  // namespace dynamo
