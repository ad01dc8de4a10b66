// A StepRunner that computes no model but checks the paging: every row's token and position is written to its slot, with a hash of
// all tokens up to there as they are found through the block table, as a real KV depends on them. Before a token is drawn the whole
// sequence is read back in the same way. The token drawn is that hash of all before it, so an answer depends on its prompt alone,
// and any mix-up of blocks, also a block that was computed after other tokens, shows as another answer or as a failed CHECK.
#pragma once

#include <functional>
#include <span>
#include <utility>
#include <vector>

#include "base/check.h"
#include "engine/step_runner.h"

namespace dynamo::engine {

class CheckingRunner final : public StepRunner {
 public:
  static constexpr size_t kTokenBytes = 16;  // of a pool, per token

  // `pool` [blocks][block_tokens][kTokenBytes] holds the slots, zeroed, and outlives the runner; without it they are its own.
  explicit CheckingRunner(uint32_t vocab_size, std::span<std::byte> pool = {}) : vocab_size_(vocab_size) {
    if (!pool.empty()) slots_ = {reinterpret_cast<Slot*>(pool.data()), pool.size() / kTokenBytes};
  }

  Result<std::vector<Result<DrawnToken>>> run(const StepInput& input) override {
    ++steps;
    rows += input.tokens.size();
    largest_step = std::max<size_t>(largest_step, input.tokens.size());
    if (fail_next) {
      fail_next = false;
      return internal("the device failed");
    }
    for (const auto& sequence : input.paged.sequences) {
      for (uint32_t row = sequence.first_row; row < sequence.first_row + sequence.rows; ++row) {
        const uint32_t position = input.paged.positions[row];
        const uint64_t before = position == 0 ? kEmpty : slot_of(input, sequence, position - 1).context;
        slot_of(input, sequence, position) = {input.tokens[row], position, then(before, input.tokens[row])};
      }
    }
    std::vector<Result<DrawnToken>> drawn;
    for (const SampleInput& sample : input.samples) {
      for (const auto& sequence : input.paged.sequences) {
        if (sample.row != sequence.first_row + sequence.rows - 1) continue;
        CHECK(sequence.length == sample.prompt.size() + sample.output.size());
        uint64_t context = kEmpty;
        for (uint32_t position = 0; position < sequence.length; ++position) {
          const Slot& slot = slot_of(input, sequence, position);
          const TokenId expected = position < sample.prompt.size() ? sample.prompt[position]
                                                                   : sample.output[position - sample.prompt.size()];
          context = then(context, expected);
          CHECK(slot.position == position && slot.token == expected && slot.context == context);
        }
        DrawnToken token{static_cast<TokenId>((context >> 33) % vocab_size_), {}};
        drawn.push_back(spoil ? spoil(sample, std::move(token)) : std::move(token));
      }
    }
    return drawn;
  }

  size_t steps = 0;
  size_t rows = 0;
  size_t largest_step = 0;
  bool fail_next = false;
  // What becomes of a sequence's token instead; null: nothing.
  std::function<Result<DrawnToken>(const SampleInput&, DrawnToken)> spoil;

 private:
  struct Slot {
    TokenId token = 0;
    uint32_t position = 0;
    uint64_t context = 0;  // of all tokens up to this one
  };
  static constexpr uint64_t kEmpty = 1;
  static uint64_t then(uint64_t context, TokenId token) { return (context ^ token) * 0x9E3779B97F4A7C15U; }
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
