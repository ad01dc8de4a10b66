// A StepRunner that computes no model but checks the paging: every row's token and position is written to its slot, and before a
// token is drawn the whole sequence is read back through its block table. The token drawn is a hash of all tokens before it, so an
// answer depends on its prompt alone, and any mix-up of blocks shows as another answer or as a failed CHECK.
#pragma once

#include <map>
#include <utility>
#include <vector>

#include "base/check.h"
#include "engine/step_runner.h"

namespace dynamo::engine {

class CheckingRunner final : public StepRunner {
 public:
  explicit CheckingRunner(uint32_t vocab_size) : vocab_size_(vocab_size) {}

  Result<std::vector<DrawnToken>> run(const StepInput& input) override {
    ++steps;
    largest_step = std::max<size_t>(largest_step, input.tokens.size());
    if (fail_next) {
      fail_next = false;
      return unavailable("the device failed");
    }
    for (const auto& sequence : input.paged.sequences) {
      for (uint32_t row = sequence.first_row; row < sequence.first_row + sequence.rows; ++row) {
        slots_[slot_of(input, sequence, input.paged.positions[row])] = {input.tokens[row], input.paged.positions[row]};
      }
    }
    std::vector<DrawnToken> drawn;
    for (const SampleInput& sample : input.samples) {
      for (const auto& sequence : input.paged.sequences) {
        if (sample.row != sequence.first_row + sequence.rows - 1) continue;
        CHECK(sequence.length == sample.prompt.size() + sample.output.size());
        uint64_t hash = 1;
        for (uint32_t position = 0; position < sequence.length; ++position) {
          const auto& [token, at] = slots_.at(slot_of(input, sequence, position));
          const TokenId expected = position < sample.prompt.size() ? sample.prompt[position]
                                                                   : sample.output[position - sample.prompt.size()];
          CHECK(at == position && token == expected);
          hash = (hash ^ token) * 0x9E3779B97F4A7C15U;
        }
        drawn.push_back({static_cast<TokenId>((hash >> 33) % vocab_size_), {}});
      }
    }
    return drawn;
  }

  size_t steps = 0;
  size_t largest_step = 0;
  bool fail_next = false;

 private:
  static std::pair<uint32_t, uint32_t> slot_of(const StepInput& input, const kernels::PagedBatch::Sequence& sequence,
                                               uint32_t position) {
    return {input.paged.block_table.at(sequence.first_block + position / input.paged.block_tokens),
            position % input.paged.block_tokens};
  }

  uint32_t vocab_size_;
  std::map<std::pair<uint32_t, uint32_t>, std::pair<TokenId, uint32_t>> slots_;
};

}  // namespace dynamo::engine
