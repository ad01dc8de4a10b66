// GenerateRequest and TokenChunk as messages of the request plane.  Threads: pure functions.
#pragma once

#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/status.h"
#include "generate/generate_request.h"

namespace dynamo::wire {
class Generate;
}

namespace dynamo::rpc {

// The deadline travels as the time that is left.
void to_message(const GenerateRequest& request, Time now, wire::Generate* out);
// Errors: kInvalid (no prompt, no tokens to draw, biases without tokens, too many log probabilities). Sampling parameters are
// taken as they are: who computes with them checks them (generate/sampling_limits.h).
Result<GenerateRequest> from_message(const wire::Generate& message, Time now);

std::string to_bytes(const TokenChunk& chunk);
// Errors: kCorrupt.
Result<TokenChunk> chunk_from_bytes(std::string_view bytes);

// Puts `next` at the end of `chunk`.
void append(TokenChunk next, TokenChunk* chunk);

}  // namespace dynamo::rpc
