// What is asked of a worker on the request plane, as bytes.  What it answers: wire/chunk.h, wire/reply.h.
// Threads: values and pure functions.
#pragma once

#include <chrono>
#include <string>
#include <string_view>
#include <variant>

#include "base/clock.h"
#include "base/status.h"
#include "generate/generate_request.h"
#include "generate/prefill_order.h"

namespace dynamo::wire {

// A model's card, tokenizer and template (model_bundle), in pieces.
struct FetchModel {
  std::string digest;
};
// All blocks that the worker holds: snapshot parts.
struct FetchBlocks {};
// Empties its cache. Nothing comes back.
struct ClearBlocks {};
// Serves in another role from now on. A role reply comes back.
struct SetRole {
  std::string role;              // as discovery::role_name writes it
  std::chrono::seconds drain{};  // that requests it has may take to end
};

// A prompt to continue or to compute is a Result: whom it was asked for is told what is wrong with it as with any other.
using Request =
    std::variant<Result<GenerateRequest>, FetchModel, FetchBlocks, ClearBlocks, Result<PrefillOrder>, SetRole>;

// Deadlines travel as the time that is left.
std::string to_bytes(const GenerateRequest& request, Time now);
std::string to_bytes(const PrefillOrder& order, Time now);
std::string to_bytes(const FetchModel& request);
std::string to_bytes(FetchBlocks request);
std::string to_bytes(ClearBlocks request);
std::string to_bytes(const SetRole& request);

// Errors: kCorrupt, kUnsupported (a kind of a later version). Those of a prompt: kInvalid (as kv::check(); no tokens to
// draw, biases without tokens, too many log probabilities). Sampling parameters are taken as they are: who computes with
// them checks them (generate/sampling_limits.h).
Result<Request> request_from_bytes(std::string_view bytes, Time now);

}  // namespace dynamo::wire
