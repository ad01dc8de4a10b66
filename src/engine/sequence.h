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

  std::vector<TokenId> tokens;       // prompt, then output; without those that steps under way draw
  std::vector<kv::BlockHash> chain;  // of the full blocks of `tokens`
  std::vector<BlockId> blocks;       // held; cover the issued tokens
  std::optional<uint32_t> seat;      // on the device, while it runs (kernels/step.h)
  uint32_t computed = 0;             // tokens whose KV is in the blocks
  uint32_t issued = 0;               // those, and the tokens of steps under way
  uint32_t drawing = 0;              // tokens that steps under way draw for it
  uint32_t scheduled = 0;            // tokens in the step that is being put together
  uint32_t limit = UINT32_MAX;       // tokens, prompt and output, that it has at most
  bool needs_token = false;          // the host must know a token before the next is drawn, as for a grammar
  std::optional<uint32_t> cached;    // prompt tokens found in the cache at first admission
  bool has_begun = false;            // was admitted, and is counted

  Handoff handoff;
  bool is_receiving = false;  // admitted, and its prompt comes from elsewhere
  uint32_t attempt = 0;       // of its source, counted from 1
  uint32_t sent_blocks = 0;   // told to its target

  // What its blocks are of.
  kv::PromptView content() const { return {tokens, request.prompt.spans, request.prompt.salt}; }
  // Without what was drawn for the answer elsewhere before.
  uint32_t prompt_size() const { return static_cast<uint32_t>(request.prompt.size()) - request.drawn_before; }
  uint32_t size() const { return static_cast<uint32_t>(tokens.size()); }
  uint32_t output_size() const { return size() - prompt_size(); }
  // Tokens that no step has yet, one that is being drawn with them.
  uint32_t unissued() const { return size() + drawing - issued; }
  // It has one token to compute, after which the next is drawn.
  bool is_decoding() const { return unissued() == 1 && output_size() + drawing > 0 && !is_receiving; }
  // A step may have its next tokens now.
  bool can_be_issued() const {
    return unissued() > 0 && !is_receiving && size() + drawing < limit && !(needs_token && drawing > 0);
  }
  // When its sink is to hear that the engine gets on, unless there is something to show before.
  Time next_sign() const {
    return request.silence_limit > Duration(0) ? heard + request.silence_limit / 4 : Time::max();
  }
};

}  // namespace dynamo::engine
