// How an engine takes part in a hand-off: a prompt computed by one engine, its KV blocks written into the pool of another.
//
// The engines know sequences and blocks only; who talks to whom and how bytes travel is handoff/. Blocks that a hand-off may still
// read or write are held for it beside the sequence's own hold, so that a sequence may end, or be preempted, at any time.
// Threads: all calls come on the engine's thread and must not block.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "base/ids.h"

namespace dynamo::engine {

// Of the engine that decodes: fetches prompts from elsewhere.
class PrefillSource {
 public:
  virtual ~PrefillSource() = default;
  // Room is reserved for the whole prompt, and its first `cached_tokens` tokens, whole blocks, are here already: fetch the rest.
  // blocks[i] is the prompt's block i; all are held for the source until Engine::release().
  // Then: Engine::received() as it comes and received_all(), or fetch_again(), or prefill_here(); each names `attempt`.
  virtual void on_reserved(SequenceId id, uint32_t attempt, uint32_t cached_tokens, std::vector<BlockId> blocks) = 0;
  // The sequence is over without its prompt (cancelled, too late, the engine stops). Not called before on_reserved().
  virtual void on_given_up(SequenceId id) = 0;
};

// Of the engine that prefills: sends what is computed.
class PrefillTarget {
 public:
  virtual ~PrefillTarget() = default;
  // The prompt's first step begins. Once, even if the sequence is preempted and begins again.
  virtual void on_started(SequenceId id) = 0;
  // The prompt's first `computed` tokens are, in `blocks`, the last of which may be part filled at the prompt's end; those from
  // `first_new` on were not told before. Comes before the token that follows is given out. All of them are held for the target until
  // Engine::release(): a block never outlives the one it follows.
  virtual void on_computed(SequenceId id, uint32_t computed, uint32_t first_new, std::vector<BlockId> blocks) = 0;
};

// With a request: at most one of the two.
struct Handoff {
  std::shared_ptr<PrefillSource> source;
  std::shared_ptr<PrefillTarget> target;
};

}  // namespace dynamo::engine
