#include "router/cost.h"

namespace dynamo::router {

Cost cost_of(const Standing& standing, double block_tokens, double overlap_weight) {
  Cost cost;
  cost.prefill_blocks = (standing.queued_tokens + standing.new_tokens) / block_tokens;
  cost.decode_blocks = standing.blocks;
  cost.sequences = standing.sequences;
  // At a prefill worker those ahead end with their prompts, which are counted.
  if (standing.answers && standing.places > 0 && standing.sequences >= standing.places) {
    const auto in_line = static_cast<double>(standing.sequences - standing.places + 1);
    cost.rounds = in_line / static_cast<double>(standing.places);
  }
  cost.total = overlap_weight * cost.prefill_blocks + cost.decode_blocks +
               kSequenceBlocks * static_cast<double>(cost.sequences) + kRoundBlocks * cost.rounds;
  return cost;
}

}  // namespace dynamo::router
