// A StepRunner that computes no model but checks the paging: every row's token and position is written to its slot, and before a
// token is drawn the whole sequence is read back through its block table. The token drawn is a hash of all tokens before it, so an
// answer depends on its prompt alone, and any mix-up of blocks shows as another answer or as a failed CHECK.
#pragma once

#include <span>
#include <utility>
#include <vector>

#include "base/check.h"
#include "engine/step_runner.h"

namespace dynamo::engine {

class CheckingRunner final : public StepRunner {
 public:
  static constexpr size_t kTokenBytes = 2 * sizeof(uint32_t);  // of a pool, per token

  // `pool` [blocks][block_tokens][kTokenBytes] holds the slots, zeroed, and outlives the runner; without it they are its own.
  explicit CheckingRunner(uint32_t vocab_size, std::span<std::byte> pool = {}) : vocab_size_(vocab_size) {
    if (!pool.empty()) slots_ = {reinterpret_cast<Slot*>(pool.data()), pool.size() / kTokenBytes};
  }

  Result<std::vector<DrawnToken>> run(const StepInput& input) override {
    ++steps;
    largest_step = std::max<size_t>(largest_step, input.tokens.size());
    if (fail_next) {
      fail_next = false;
      return unavailable("the device failed");
    }
    for (const auto& sequence : input.paged.sequences) {
      for (uint32_t row = sequence.first_row; row < sequence.first_row + sequence.rows; ++row) {
        slot_of(input, sequence, input.paged.positions[row]) = {input.tokens[row], input.paged.positions[row]};
      }
    }
    std::vector<DrawnToken> drawn;
    for (const SampleInput& sample : input.samples) {
      for (const auto& sequence : input.paged.sequences) {
        if (sample.row != sequence.first_row + sequence.rows - 1) continue;
        CHECK(sequence.length == sample.prompt.size() + sample.output.size());
        uint64_t hash = 1;
        for (uint32_t position = 0; position < sequence.length; ++position) {
          const auto [token, at] = slot_of(input, sequence, position);
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
  struct Slot {
    TokenId token = 0;
    uint32_t position = 0;
  };
  static_assert(sizeof(Slot) == kTokenBytes);

  Slot& slot_of(const StepInput& input, const kernels::PagedBatch::Sequence& sequence, uint32_t position) {
    const uint32_t size = input.paged.block_tokens;
    const size_t at =
        size_t{input.paged.block_table.at(sequence.first_block + position / size)} * size + position % size;
    if (at >= slots_.size()) {
      CHECK(slots_.data() == own_.data());  // else the block is outside the pool
      own_.resize(at + 1);
      slots_ = own_;
    }
    return slots_[at];
  }

  uint32_t vocab_size_;
  std::vector<Slot> own_;
  std::span<Slot> slots_;
};

}  // namespace dynamo::engine
