// What it costs to give a request to a worker: mode kv's measure. Lower is better; the unit is a block that decodes.
// Why each term is there and weighs what it does: docs/decisions/0010-sequences-in-the-cost.md.  Threads: pure
// functions.  Private to the module.
#pragma once

#include <cstdint>

namespace dynamo::router {

// What there is of a worker, as far as this router knows, when the request is weighed. Blocks are those of the model's
// size.
struct Standing {
  double queued_tokens = 0;  // of prompts there, not computed yet
  double new_tokens = 0;     // of this prompt: neither cached there nor about to be, by requests in flight
  double blocks = 0;         // distinct, in flight there, this request's included
  uint64_t sequences = 0;    // in flight there, running or in line, whoever sent them; this request not included
  uint64_t places = 0;       // sequences that run there at once; 0: not known
  bool answers = true;       // false: a prefill worker, whose sequences end with their prompts
};

struct Cost {
  double prefill_blocks = 0;  // prompt tokens to compute before the first token, in blocks
  double decode_blocks = 0;
  uint64_t sequences = 0;
  double rounds = 0;  // of answers that end there before this one begins: 1 is as many as there are places
  double total =
      0;  // overlap_weight * prefill_blocks + decode_blocks + kSequenceBlocks * sequences + kRoundBlocks * rounds
};

constexpr double kSequenceBlocks = 48;
constexpr double kRoundBlocks = 4000;

// Requires: block_tokens > 0.
Cost cost_of(const Standing& standing, double block_tokens, double overlap_weight);

}  // namespace dynamo::router
