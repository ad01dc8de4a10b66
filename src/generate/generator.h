// The spine: everything that turns a request into tokens is a Generator.
//
// The local engine, a remote worker (rpc) and the router that chooses among others all are one, so that one process or
// forty is only wiring. Why: docs/decisions/0002-generator-as-the-spine.md. Threads: generate() may be called from any
// thread; a Generation belongs to the executor that awaits it.
#pragma once

#include <memory>

#include "base/status.h"
#include "base/task.h"
#include "generate/generate_request.h"

namespace dynamo {

// The answer to one request while it is being made. Destroying it before the last chunk cancels the request: the engine
// stops computing it within a step and its blocks return to the pool.
class Generation {
 public:
  virtual ~Generation() = default;

  // Waits for the next piece. Pieces that arrive faster than they are read are joined, so memory per request stays
  // bounded. Requires: one call at a time; none after a chunk with `finish` or a failure. Errors: kDeadline (the
  // request's own), kUnavailable (the worker went away or fell silent; the tokens so far stand), kInvalid (the request leaves no
  // token to draw), kInternal (what was computed for this request is broken; others beside it are not concerned).
  virtual Task<Result<TokenChunk>> next() = 0;
};

class Generator {
 public:
  virtual ~Generator() = default;

  // Takes the request. Errors: kInvalid (prompt empty or past the context, a number out of its range), kExhausted (queue full), kUnavailable
  // (stopping or no worker), kDeadline.
  virtual Task<Result<std::unique_ptr<Generation>>> generate(GenerateRequest request) = 0;
};

}  // namespace dynamo
