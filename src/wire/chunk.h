// Pieces of an answer as bytes: on the request plane, and in notices of hand-offs.  Threads: pure functions.
#pragma once

#include <string>
#include <string_view>

#include "base/status.h"
#include "generate/generate_request.h"

namespace dynamo::wire {

inline constexpr uint32_t kMostTopLogprobs = 1000;  // alternatives per token

std::string to_bytes(const TokenChunk& chunk);
// Errors: kCorrupt.
Result<TokenChunk> chunk_from_bytes(std::string_view bytes);

}  // namespace dynamo::wire
