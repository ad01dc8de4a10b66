// How blocks of a prompt come to an engine from elsewhere, and go from it: computed by another engine, or kept in a
// tier below the device.
//
// The engine knows sequences and blocks only; who talks to whom and how bytes travel is the business of a source and a
// target. Blocks that those may still read or write are held for them beside the sequence's own hold, so that a
// sequence may end, or be preempted, at any time. Of a tier below, a source brings back what the device gave up and a
// target keeps what is computed; its directory is a BlockPool of its own.
// Threads: all calls come on the engine's thread and must not block.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "base/ids.h"

namespace dynamo::engine {

// Brings blocks of one request's prompt. The sequence is in no step meanwhile.
class BlockSource {
 public:
  virtual ~BlockSource() = default;
  // Whether to wait for it, where the prompt's first `cached_tokens` tokens, whole blocks, are here already. Asked each
  // time that the sequence is admitted, as after a preemption; where it is false, the rest is computed here.
  virtual bool has_more(uint32_t cached_tokens) const = 0;
  // Room is reserved for the whole prompt: bring what is behind the first `cached_tokens` tokens.
  // blocks[i] is the prompt's block i; all are held for the source until Engine::release().
  // Then: Engine::received() as it comes and received_all(), or fetch_again(), or prefill_here(); each names `attempt`.
  virtual void on_reserved(SequenceId id, uint32_t attempt, uint32_t cached_tokens, std::vector<BlockId> blocks) = 0;
  // The sequence is over without its prompt (cancelled, too late, the engine stops). Not called before on_reserved().
  virtual void on_given_up(SequenceId id) = 0;
};

// Takes the blocks of one request's prompt as they are computed.
class BlockTarget {
 public:
  virtual ~BlockTarget() = default;
  // The prompt's first step begins, or its blocks are reserved for a source. Once, even if the sequence is preempted
  // and begins again.
  virtual void on_started(SequenceId id) = 0;
  // The prompt's first `computed` tokens are, in `blocks`, the last of which may be part filled at the prompt's end; those from
  // `first_new` on were not told before. Comes before the token that follows is given out. All of them are held for the target until
  // Engine::release(): a block never outlives the one it follows.
  virtual void on_computed(SequenceId id, uint32_t computed, uint32_t first_new, std::vector<BlockId> blocks) = 0;
};

// With a request.
struct Handoff {
  std::shared_ptr<BlockSource> source;
  std::shared_ptr<BlockTarget> target;
};

}  // namespace dynamo::engine
