// The engine: continuous batching over a paged KV cache, on one thread of its own.
//
// step() = schedule -> run -> emit. Requests come in through submit() and cancel() from any thread; everything else -
// sequences, block pool, scheduler - belongs to the engine's thread and has no lock. It parks when there is nothing to
// do. Idea: Yu et al. 2022 (Orca), Kwon et al. 2023 (vLLM), Agrawal et al. 2023 (chunked prefill).
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "base/clock.h"
#include "base/metrics.h"
#include "base/status.h"
#include "engine/handoff.h"
#include "engine/step_runner.h"
#include "generate/generate_request.h"
#include "kv/kv_event.h"
#include "kv/kv_layout.h"

namespace dynamo::engine {

struct EngineOptions {
  uint32_t block_tokens = kv::kDefaultBlockTokens;  // tokens per KV block.  [1, kv::kMostBlockTokens]
  uint32_t kv_blocks = 0;                           // blocks in the pool; > 0
  uint32_t context_length = 0;                      // prompt and answer together, in tokens; > 1
  uint32_t vocab_size = 0;                          // > 0
  uint32_t max_batch_tokens = 512;  // rows per step: decoding sequences first, then prefill chunks.  [1, 65536]
  uint32_t max_sequences = 64;      // sequences running at once.  [1, 4096]
  uint32_t max_waiting = 1024;      // requests waiting for admission; more are refused with kExhausted
};

// Told what happens to one request, on the engine's thread. Must not block.
class ChunkSink {
 public:
  virtual ~ChunkSink() = default;
  virtual void on_chunk(TokenChunk chunk) = 0;  // the last one has `finish`
  // Instead of a last chunk. kUnavailable: the step failed, or the engine stops; kInvalid and kInternal: this request alone
  // failed (engine/step_runner.h); kDeadline.
  virtual void on_failure(Status status) = 0;
  // The engine gets on, with nothing to show of this request: four times in the request's silence_limit, if it has one.
  virtual void on_sign_of_life() = 0;
};

// What the engine has now; a snapshot taken after a step.
struct EngineLoad {
  uint32_t running = 0;  // sequences
  uint32_t waiting = 0;
  uint32_t used_blocks = 0;    // held by sequences
  uint32_t cached_blocks = 0;  // free but reusable
  uint32_t total_blocks = 0;
  bool is_full = false;        // those that wait do so for a place or for blocks, not for their turn in a step
  uint64_t queued_tokens = 0;  // prompt tokens still to compute here, running and waiting
  double prefill_tokens_per_second = 0;  // lately; 0: nothing to tell by yet
};

class Engine {
 public:
  // Starts the thread. `events` (may be null) and `runner` are used on it only and outlive the engine when borrowed.
  // Errors: kInvalid (an option out of range, by its name here: "max_sequences 0: must be in [1, 4096]").
  static Result<std::unique_ptr<Engine>> start(EngineOptions options, std::unique_ptr<StepRunner> runner,
                                               const Clock* clock, kv::KvEventSink* events, Metrics* metrics,
                                               const MetricLabels& labels);
  // Requires: stop() has returned.
  virtual ~Engine() = default;

  // Takes a request; its tokens go to `sink`, which is called once more at most after cancel() and never after the last
  // chunk or failure. Errors: kInvalid (empty prompt, a token >= vocab_size, prompt not below context_length, or more
  // blocks than the pool has; names both numbers; a number outside generate/sampling_limits.h), kExhausted (max_waiting), kUnavailable (stopping).
  virtual Result<SequenceId> submit(GenerateRequest request, std::shared_ptr<ChunkSink> sink, Handoff handoff) = 0;
  // Ends a request; its blocks return to the pool before the next step. Unknown or finished ids are ignored.
  virtual void cancel(SequenceId id) = 0;

  // Forgets, before the next step, all cached content that no sequence holds; what is held can be matched no more.
  virtual void clear_cache() = 0;

  // Of a sequence with a BlockSource, whose on_reserved() said `attempt`; anything else is ignored. From any thread.
  // The first `tokens` tokens of its prompt are in its blocks, or nothing new is, and who computes them gets on.
  virtual void received(SequenceId id, uint32_t attempt, uint32_t tokens) = 0;
  // All of them are, and `first` is the answer's first token; the prefilling engine had `cached_tokens` of the prompt in its cache.
  virtual void received_all(SequenceId id, uint32_t attempt, DrawnToken first, uint32_t cached_tokens) = 0;
  // Begins anew with other blocks, keeping what was received: on_reserved() is called again; or computes the rest in this
  // engine, or the whole if what was received may be broken.
  virtual void fetch_again(SequenceId id, uint32_t attempt) = 0;
  virtual void prefill_here(SequenceId id, uint32_t attempt, bool keeps_received) = 0;
  // Gives up the holds on blocks that a source or target was given. From any thread.
  virtual void release(std::vector<BlockId> blocks) = 0;

  virtual EngineLoad load() const = 0;

  // Refuses new requests at once, lets those taken finish until `until`, fails the rest with kUnavailable, and joins
  // the thread. May be called again with an earlier time.
  virtual void stop(Time until) = 0;
};

}  // namespace dynamo::engine
