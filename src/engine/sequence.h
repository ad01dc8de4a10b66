// A request inside the engine: its tokens, its blocks, and how far it is computed.
// Threads: the engine's.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "base/clock.h"
#include "base/ids.h"
#include "engine/handoff.h"
#include "generate/generate_request.h"
#include "kv/block_hash.h"

namespace dynamo::engine {

class ChunkSink;

struct Sequence {
  SequenceId id;
  GenerateRequest request;
  std::shared_ptr<ChunkSink> sink;
  uint64_t seed = 0;  // the request's, or one the engine picked
  Time arrival;
  Time heard;  // when its sink was told something last

  std::vector<TokenId> tokens;       // prompt, then output
  std::vector<kv::BlockHash> chain;  // of the full blocks of `tokens`
  std::vector<BlockId> blocks;       // held; cover the computed tokens and those of the step being computed
  uint32_t computed = 0;             // tokens whose KV is in the blocks
  uint32_t scheduled = 0;            // tokens that the step being computed adds
  std::optional<uint32_t> cached;    // prompt tokens found in the cache at first admission
  bool has_begun = false;            // was admitted, and is counted

  Handoff handoff;
  bool is_receiving = false;  // admitted, and its prompt comes from elsewhere
  uint32_t attempt = 0;       // of its source, counted from 1
  uint32_t sent_blocks = 0;   // told to its target

  // Without what was drawn for the answer elsewhere before.
  uint32_t prompt_size() const { return static_cast<uint32_t>(request.prompt.size()) - request.drawn_before; }
  uint32_t size() const { return static_cast<uint32_t>(tokens.size()); }
  uint32_t output_size() const { return size() - prompt_size(); }
  uint32_t uncomputed() const { return size() - computed; }
  // When its sink is to hear that the engine gets on, unless there is something to show before.
  Time next_sign() const {
    return request.silence_limit > Duration(0) ? heard + request.silence_limit / 4 : Time::max();
  }
};

}  // namespace dynamo::engine
