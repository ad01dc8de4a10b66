// A step as the CPU backend's operations see it, and the tokens that its seats hold.
// Threads: written by begin(), read by the operation's threads.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "base/check.h"
#include "kernels/step.h"

namespace dynamo::kernels {

// What was drawn last for each seat. Enough of it for every draw that may be begun before the host knows: kept by the
// answer's index, so that a draw finds those between what its Draw::output has and itself.
class DrawnTokens {
 public:
  explicit DrawnTokens(uint32_t depth) : depth_(depth) {}

  void put(uint32_t seat, uint32_t index, TokenId token) {
    CHECK(seat < kMaxSeats);
    if (seat >= last_.size()) {
      last_.resize(seat + 1);
      recent_.resize(size_t{seat + 1} * depth_);
    }
    last_[seat] = recent_[size_t{seat} * depth_ + index % depth_] = token;
  }
  TokenId last(uint32_t seat) const {
    CHECK(seat < last_.size());
    return last_[seat];
  }
  // The tokens [known, index) of the answer. Requires: fewer than depth.
  void read(uint32_t seat, uint32_t known, uint32_t index, std::vector<TokenId>* out) const {
    CHECK(known <= index && index - known < depth_);
    out->clear();
    for (uint32_t i = known; i < index; ++i) out->push_back(recent_.at(size_t{seat} * depth_ + i % depth_));
  }

 private:
  uint32_t depth_;
  std::vector<TokenId> last_;
  std::vector<TokenId> recent_;
};

class CpuStep final : public StepView {
 public:
  void set(const Step& step) {
    set_shape(step.paged.rows(), static_cast<uint32_t>(step.draws.size()));
    step_ = &step;
    sequence_of_.resize(rows());
    for (uint32_t i = 0; i < step.paged.sequences.size(); ++i) {
      const PagedBatch::Sequence& sequence = step.paged.sequences[i];
      CHECK(sequence.first_row + sequence.rows <= rows() && sequence.rows <= sequence.length);
      std::fill_n(sequence_of_.begin() + sequence.first_row, sequence.rows, i);
    }
  }
  const Step& step() const { return *step_; }
  const PagedBatch::Sequence& sequence_of(size_t row) const { return step_->paged.sequences[sequence_of_[row]]; }
  const uint32_t* blocks_of(size_t row) const { return step_->paged.block_table.data() + sequence_of(row).first_block; }

 private:
  const Step* step_ = nullptr;  // during begin()
  std::vector<uint32_t> sequence_of_;
};

}  // namespace dynamo::kernels
