// A StepRunner that computes no model but checks the paging: every row's token and position is written to its slot of
// the pool, with a hash of all tokens up to there as they are found through the block table, as a real KV depends on
// them. Before a token is drawn the whole sequence is read back in the same way. The token drawn is that hash of all
// before it, so an answer depends on its prompt alone, and any mix-up of blocks, also a block that was computed after
// other tokens, shows as another answer or as a failed CHECK.
//
// As late as a device may be: a step is computed when it is finished, and not a moment before. So whoever reads or
// reuses the blocks of a step under way finds them as they were before it, or is overwritten by it.
#pragma once

#include <deque>
#include <functional>
#include <map>
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
  explicit CheckingRunner(uint32_t vocab_size, std::span<std::byte> pool = {}, uint32_t depth = 1)
      : vocab_size_(vocab_size), depth_(depth) {
    if (!pool.empty()) slots_ = {reinterpret_cast<Slot*>(pool.data()), pool.size() / kTokenBytes};
  }

  uint32_t depth() const override { return depth_; }

  Status begin(const kernels::Step& step) override {
    CHECK(under_way_.size() < depth_);
    if (std::exchange(fail_next_begin, false)) return internal("the device is gone");
    ++steps;
    rows += step.tokens.size();
    largest_step = std::max<size_t>(largest_step, step.tokens.size());
    most_under_way = std::max(most_under_way, under_way_.size() + 1);
    under_way_.emplace_back();
    Begun& begun = under_way_.back();
    begun.paged = step.paged;
    begun.tokens = step.tokens;
    for (const kernels::Draw& draw : step.draws) {
      begun.draws.push_back({draw, {draw.prompt.begin(), draw.prompt.end()}, {draw.output.begin(), draw.output.end()}});
    }
    return {};
  }

  Result<std::vector<Result<DrawnToken>>> finish() override {
    CHECK(!under_way_.empty());
    Begun begun = std::move(under_way_.front());
    under_way_.pop_front();
    if (std::exchange(fail_next, false)) failing_ = 1 + under_way_.size();
    if (failing_ > 0) {
      --failing_;
      return internal("the device failed");
    }
    for (const auto& sequence : begun.paged.sequences) {
      for (uint32_t row = sequence.first_row; row < sequence.first_row + sequence.rows; ++row) {
        const bool is_drawn_last = begun.tokens[row] == kernels::kDrawnLast;
        const TokenId token = is_drawn_last ? drawn_.at(sequence.seat).back() : begun.tokens[row];
        const uint32_t position = begun.paged.positions[row];
        const uint64_t before = position == 0 ? kEmpty : slot_of(begun, sequence, position - 1).context;
        slot_of(begun, sequence, position) = {token, position, then(before, token)};
      }
    }
    std::vector<Result<DrawnToken>> drawn;
    for (CopiedDraw& copied : begun.draws) drawn.push_back(draw(begun, &copied));
    return drawn;
  }

  size_t steps = 0;
  size_t rows = 0;
  size_t largest_step = 0;
  size_t most_under_way = 0;
  bool fail_next = false;        // finish(), and those of the steps begun by then
  bool fail_next_begin = false;  // begin()
  // What becomes of a sequence's token instead; null: nothing.
  std::function<Result<DrawnToken>(const kernels::Draw&, DrawnToken)> spoil;

 private:
  struct Slot {
    TokenId token = 0;
    uint32_t position = 0;
    uint64_t context = 0;  // of all tokens up to this one
  };
  struct CopiedDraw {
    kernels::Draw draw;
    std::vector<TokenId> prompt;
    std::vector<TokenId> output;
  };
  struct Begun {
    kernels::PagedBatch paged;
    std::vector<TokenId> tokens;
    std::vector<CopiedDraw> draws;
  };
  static constexpr uint64_t kEmpty = 1;
  static uint64_t then(uint64_t context, TokenId token) { return (context ^ token) * 0x9E3779B97F4A7C15U; }
  static_assert(sizeof(Slot) == kTokenBytes);

  Result<DrawnToken> draw(const Begun& begun, CopiedDraw* copied) {
    kernels::Draw& draw = copied->draw;
    draw.prompt = copied->prompt;
    draw.output = copied->output;
    const auto sequence = std::ranges::find_if(
        begun.paged.sequences, [&](const auto& one) { return one.first_row + one.rows - 1 == draw.row; });
    CHECK(sequence != begun.paged.sequences.end() && sequence->seat == draw.seat);
    CHECK(sequence->length == draw.prompt.size() + draw.index);
    // What the host does not know yet is what the seat got last.
    std::vector<TokenId>& in_seat = drawn_[draw.seat];
    const size_t pending = draw.index - draw.output.size();
    CHECK(pending < depth_ && pending <= in_seat.size());
    std::vector<TokenId> expected = copied->prompt;
    expected.insert(expected.end(), copied->output.begin(), copied->output.end());
    expected.insert(expected.end(), in_seat.end() - static_cast<ptrdiff_t>(pending), in_seat.end());
    uint64_t context = kEmpty;
    for (uint32_t position = 0; position < sequence->length; ++position) {
      const Slot& slot = slot_of(begun, *sequence, position);
      context = then(context, expected[position]);
      CHECK(slot.position == position && slot.token == expected[position] && slot.context == context);
    }
    Result<DrawnToken> token = DrawnToken{static_cast<TokenId>((context >> 33) % vocab_size_), {}};
    if (spoil) token = spoil(draw, std::move(token).value());
    in_seat.push_back(token.is_ok() ? token->token : 0);
    return token;
  }

  Slot& slot_of(const Begun& begun, const kernels::PagedBatch::Sequence& sequence, uint32_t position) {
    const uint32_t size = begun.paged.block_tokens;
    const size_t at =
        size_t{begun.paged.block_table.at(sequence.first_block + position / size)} * size + position % size;
    if (at >= slots_.size()) {
      CHECK(slots_.data() == own_.data());  // else the block is outside the pool
      own_.resize(at + 1);
      slots_ = own_;
    }
    return slots_[at];
  }

  uint32_t vocab_size_;
  uint32_t depth_;
  std::vector<Slot> own_;
  std::span<Slot> slots_;
  std::deque<Begun> under_way_;
  size_t failing_ = 0;                              // steps
  std::map<uint32_t, std::vector<TokenId>> drawn_;  // by seat, of all that had it
};

}  // namespace dynamo::engine
