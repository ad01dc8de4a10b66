// One step of an engine: the tokens it computes and the tokens it draws. Host values, the same for every backend.
//
// A backend may have several steps under way, so a step may need a token that an earlier one has not given out yet.
// Such tokens stay on the device: each sequence has a seat there, and kDrawnLast stands for the token last drawn in
// it.
// Threads: values.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "base/ids.h"
#include "base/sampling.h"
#include "kernels/paged_batch.h"

namespace dynamo::kernels {

// In Step::tokens: the token last drawn in the seat of the row's sequence, by a step begun before.
inline constexpr TokenId kDrawnLast = ~TokenId{0};
// Seats are below this.
inline constexpr uint32_t kMaxSeats = 4096;

// How one token is drawn from the logits of one row.
struct Draw {
  uint32_t row = 0;   // of the step
  uint32_t seat = 0;  // of the row's sequence; holds the token from then on
  const SamplingParams* sampling = nullptr;
  uint64_t seed = 0;  // the request's, or the one the engine picked
  // Tokens of the answer before this one. Those from output.size() on are not known to the host: the steps under way
  // draw them, in the same seat and in order, fewer than the backend's depth. Penalties count them too.
  uint32_t index = 0;
  std::span<const TokenId> prompt = {};
  std::span<const TokenId> output = {};
  std::span<const TokenId> masked = {};  // ids that must not be drawn (stop ids before min_tokens)
  // Bit t % 32 of word t / 32: token t may be drawn (a grammar); empty: every token.
  std::span<const uint32_t> allowed = {};
  std::optional<uint32_t> logprobs = {};  // how many alternatives to report; absent: no log probability at all
};

// What begin() is given; it and all that it points to are read before begin() returns.
struct Step {
  PagedBatch paged;
  std::vector<TokenId> tokens;  // one per row, or kDrawnLast
  std::vector<Draw> draws;      // of ascending rows
  // For the backend to call, on the caller's thread, now and then while a step takes long and its device gets on. Valid
  // until the step is finished; may be null.
  std::function<void()> gets_on;
};

// A step on its device, as operations take it. Backends derive theirs from it.
class StepView {
 public:
  uint32_t rows() const { return rows_; }
  uint32_t draws() const { return draws_; }

 protected:
  StepView() = default;
  ~StepView() = default;
  StepView(const StepView&) = default;
  StepView& operator=(const StepView&) = default;
  void set_shape(uint32_t rows, uint32_t draws) {
    rows_ = rows;
    draws_ = draws;
  }

 private:
  uint32_t rows_ = 0;
  uint32_t draws_ = 0;
};

}  // namespace dynamo::kernels
