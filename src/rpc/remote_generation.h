// The answer of a worker to one request, as it comes over the request plane.
// Threads: as Generation.
#pragma once

#include <memory>

#include "base/clock.h"
#include "generate/generator.h"
#include "rpc/channel.h"

namespace dynamo::rpc {

class RemoteGeneration final : public Generation {
 public:
  // `until`: when a worker that says nothing of the request's deadline has missed it. `silence_limit` is the request's: when nothing
  // comes for so long, not even a sign of life, next() fails with kUnavailable, though the connection may live. Zero: none.
  RemoteGeneration(std::unique_ptr<Stream> stream, Time until, Duration silence_limit,
                   const Clock* clock = &Clock::steady())
      : stream_(std::move(stream)), until_(until), silence_limit_(silence_limit), clock_(clock) {}

  Task<Result<TokenChunk>> next() override;

 private:
  Status silence() const;

  std::unique_ptr<Stream> stream_;
  Time until_;
  Duration silence_limit_;
  const Clock* clock_;
  bool has_answered_ = false;
};

}  // namespace dynamo::rpc
