// One request for tokens and the pieces of its answer: what passes through every hop of the path.
// Threads: values.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/ids.h"
#include "base/sampling.h"
#include "kv/prompt.h"

namespace dynamo {

struct StopConditions {
  uint32_t max_tokens = 16;             // tokens to generate at most; > 0
  uint32_t min_tokens = 0;              // stop ids cannot be drawn before this many
  std::vector<TokenId> stop_token_ids;  // the model's end-of-sequence ids and the client's own
};

// What a request asks of the router alone; workers do not see it. Absent: the router's own settings.
struct RoutingHints {
  std::optional<double> overlap_weight;  // >= 0
  std::optional<double> temperature;     // >= 0
  std::optional<uint64_t> instance;      // this worker and no other
};

// A worker that computes prompts for others.
struct PrefillPlace {
  uint64_t instance = 0;
  std::string name;
  std::string address;  // "host:port", of the request plane
  bool operator==(const PrefillPlace&) const = default;
};

struct GenerateRequest {
  std::string id;     // names the request in logs of every hop
  std::string model;  // served name
  kv::Prompt prompt;  // as kv::check() demands
  SamplingParams sampling;
  StopConditions stop;
  std::optional<uint32_t> logprobs;  // how many alternatives to report per token; 0: only the drawn token's
  int32_t priority = 0;              // higher runs first
  uint32_t drawn_before = 0;  // tokens at the prompt's end that were drawn for this answer already (a resumed stream)
  std::vector<PrefillPlace> prefill_at;  // where the prompt may be computed, best first; none: where it is decoded
  RoutingHints routing;
  Time deadline = Time::max();  // given up with kDeadline after this
  // Whoever reads the answer gives up a worker from which nothing comes for so long. So a worker that gets on with the request and has
  // nothing to show of it yet says that, four times in it: a chunk without tokens. Zero: no limit, and no such chunks.
  Duration silence_limit{};
};

enum class FinishReason : uint8_t {
  kStop,    // drew a stop id, which is the last of the chunk's tokens
  kLength,  // reached max_tokens or the model's context
};

// One or more tokens of the answer, in order. The last chunk of a request, and only it, has `finish`. Without tokens and `finish` it is a
// sign of life: the worker gets on with the request (GenerateRequest::silence_limit).
struct TokenChunk {
  std::vector<TokenId> tokens;
  std::vector<TokenLogprobs> logprobs;  // one per token if asked, else empty
  std::optional<FinishReason> finish;
  uint32_t cached_tokens = 0;  // prompt tokens found in the cache; the same in every chunk
  std::string worker;          // who answered, set in the first chunk

  bool is_sign_of_life() const { return tokens.empty() && !finish; }
};

// Puts `next` at the end of `chunk`. A sign of life is lost in what it is joined to.
void append(TokenChunk next, TokenChunk* chunk);

}  // namespace dynamo
