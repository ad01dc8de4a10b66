#include "kernels/cuda/cuda_step.h"

#include <algorithm>
#include <chrono>
#include <thread>

#include "base/check.h"
#include "kernels/no_token.h"

namespace dynamo::kernels::cuda {
namespace {

using std::chrono::steady_clock;

constexpr size_t kAlignment = 16;
constexpr auto kMostPatience = std::chrono::seconds(60);
constexpr auto kSpin = std::chrono::microseconds(200);
constexpr auto kNap = std::chrono::microseconds(20);

// A sequence of so many rows is worth tiles.
constexpr uint32_t kLeastRows = 8;

bool counts_tokens(const SamplingParams& sampling) {
  return sampling.repetition_penalty != 1 || sampling.presence_penalty != 0 || sampling.frequency_penalty != 0;
}

// Words that a draw's lists take.
size_t words_of(const Draw& draw) {
  if (draw.sampling == nullptr) return 0;
  size_t words = 2 * draw.sampling->logit_bias.size() + draw.masked.size() + draw.allowed.size();
  if (counts_tokens(*draw.sampling)) words += draw.prompt.size() + draw.output.size();
  return words;
}

// Where each table of a step starts in its block.
struct Layout {
  size_t tokens, positions, sequence_of, sequences, blocks, tiles, single_rows, draws, words, bytes;

  explicit Layout(const Step& step) {
    size_t lists = 0;
    for (const Draw& draw : step.draws) lists += words_of(draw);
    const size_t rows = step.paged.rows();
    bytes = 0;
    const auto take = [&](size_t count, size_t each) {
      const size_t at = bytes;
      bytes += (count * each + kAlignment - 1) / kAlignment * kAlignment;
      return at;
    };
    tokens = take(rows, sizeof(uint32_t));
    positions = take(rows, sizeof(uint32_t));
    sequence_of = take(rows, sizeof(uint32_t));
    sequences = take(step.paged.sequences.size(), sizeof(SequenceEntry));
    blocks = take(step.paged.block_table.size(), sizeof(uint32_t));
    tiles = take(rows / kLeastRows + 1, sizeof(TileEntry));  // at most: each has kLeastRows, or is one of many
    single_rows = take(rows, sizeof(uint32_t));
    draws = take(step.draws.size(), sizeof(DrawEntry));
    words = take(lists, sizeof(uint32_t));
  }
};

template <class T>
T* at(std::byte* block, size_t offset) {
  return reinterpret_cast<T*>(block + offset);
}

DrawnToken token_of(const DrawResult& result, bool has_logprobs) {
  DrawnToken drawn{.token = result.token, .logprobs = {}};
  if (!has_logprobs) return drawn;
  drawn.logprobs.drawn = {result.token, result.logprob};
  for (uint32_t i = 0; i < result.top_count; ++i) {
    drawn.logprobs.top.push_back({result.top_tokens[i], result.top_logprobs[i]});
  }
  return drawn;
}

}  // namespace

Status CudaStep::open() {
  return status_of(::cudaEventCreateWithFlags(&ended_, cudaEventDisableTiming), "an event");
}

void CudaStep::close() {
  if (ended_ != nullptr) ::cudaEventDestroy(ended_);
  ended_ = nullptr;
}

void CudaStep::write_draws(const Step& step, std::byte* draws, uint32_t* words) {
  auto* entries = reinterpret_cast<DrawEntry*>(draws);
  uint32_t next = 0;
  const auto put = [&](std::span<const uint32_t> list) {
    const Run run{next, static_cast<uint32_t>(list.size())};
    std::ranges::copy(list, words + next);
    next += run.count;
    return run;
  };
  static const SamplingParams kPlain;
  penalized_ = 0;
  has_logprobs_.clear();
  for (const Draw& draw : step.draws) {
    const SamplingParams& sampling = draw.sampling != nullptr ? *draw.sampling : kPlain;
    const uint32_t logprobs = draw.logprobs.value_or(0);
    CHECK(logprobs <= kMostLogprobs && draw.seat < kMaxSeats);
    DrawEntry entry = {};
    entry.seed = draw.seed;
    entry.row = draw.row;
    entry.seat = draw.seat;
    entry.index = draw.index;
    entry.temperature = sampling.temperature;
    entry.top_p = sampling.top_p;
    entry.min_p = sampling.min_p;
    entry.repetition_penalty = sampling.repetition_penalty;
    entry.presence_penalty = sampling.presence_penalty;
    entry.frequency_penalty = sampling.frequency_penalty;
    entry.top_k = static_cast<uint32_t>(std::max(0, sampling.top_k));
    if (counts_tokens(sampling)) {
      entry.prompt = put(draw.prompt);
      entry.output = put(draw.output);
      entry.counts = penalized_++;
    }
    entry.bias_tokens = {next, static_cast<uint32_t>(sampling.logit_bias.size())};
    for (const auto& [token, bias] : sampling.logit_bias) words[next++] = token;
    for (const auto& [token, bias] : sampling.logit_bias) std::memcpy(&words[next++], &bias, sizeof(bias));
    entry.masked = put(draw.masked);
    entry.allowed = put(draw.allowed);
    entry.logprobs = draw.logprobs ? static_cast<int32_t>(logprobs) : -1;
    *entries++ = entry;
    has_logprobs_.push_back(draw.logprobs.has_value());
  }
}

Status CudaStep::put(const Step& step, cudaStream_t stream) {
  const PagedBatch& paged = step.paged;
  const Layout layout(step);
  set_shape(paged.rows(), static_cast<uint32_t>(step.draws.size()));
  is_sampled_ = false;
  longest_ = longest_single_ = 0;
  TRY_STATUS(host_.grow(layout.bytes));
  TRY_STATUS(device_.grow(layout.bytes));
  TRY_STATUS(host_results_.grow(draws() * sizeof(DrawResult)));
  TRY_STATUS(device_results_.grow(draws() * sizeof(DrawResult)));
  std::byte* const host = host_.data();
  std::ranges::copy(step.tokens, at<uint32_t>(host, layout.tokens));
  std::ranges::copy(paged.positions, at<uint32_t>(host, layout.positions));
  std::ranges::copy(paged.block_table, at<uint32_t>(host, layout.blocks));
  auto* sequence_of = at<uint32_t>(host, layout.sequence_of);
  auto* sequences = at<SequenceEntry>(host, layout.sequences);
  auto* tiles = at<TileEntry>(host, layout.tiles);
  auto* single_rows = at<uint32_t>(host, layout.single_rows);
  uint32_t tile_count = 0;
  uint32_t singles = 0;
  for (uint32_t i = 0; i < paged.sequences.size(); ++i) {
    const PagedBatch::Sequence& sequence = paged.sequences[i];
    CHECK(sequence.first_row + sequence.rows <= rows() && sequence.rows <= sequence.length &&
          sequence.seat < kMaxSeats);
    sequences[i] = {sequence.first_row, sequence.rows, sequence.length, sequence.first_block, sequence.seat};
    std::fill_n(sequence_of + sequence.first_row, sequence.rows, i);
    longest_ = std::max(longest_, sequence.length);
    if (sequence.rows < kLeastRows) {
      for (uint32_t row = 0; row < sequence.rows; ++row) single_rows[singles++] = sequence.first_row + row;
      longest_single_ = std::max(longest_single_, sequence.length);
      continue;
    }
    for (uint32_t first = 0; first < sequence.rows; first += kTilePositions) tiles[tile_count++] = {i, first};
  }
  write_draws(step, host + layout.draws, at<uint32_t>(host, layout.words));
  std::byte* const device = device_.data();
  tables_ = {.tokens = at<uint32_t>(device, layout.tokens),
             .positions = at<uint32_t>(device, layout.positions),
             .sequence_of = at<uint32_t>(device, layout.sequence_of),
             .sequences = at<SequenceEntry>(device, layout.sequences),
             .blocks = at<uint32_t>(device, layout.blocks),
             .tiles = at<TileEntry>(device, layout.tiles),
             .single_rows = at<uint32_t>(device, layout.single_rows),
             .draws = at<DrawEntry>(device, layout.draws),
             .words = at<uint32_t>(device, layout.words),
             .rows = rows(),
             .tile_count = tile_count,
             .single_count = singles,
             .draw_count = draws()};
  return status_of(::cudaMemcpyAsync(device, host, layout.bytes, cudaMemcpyHostToDevice, stream), "a step's tables");
}

Status CudaStep::end(cudaStream_t stream) {
  if (is_sampled_) {
    TRY_STATUS(status_of(::cudaMemcpyAsync(host_results_.data(), device_results_.data(), draws() * sizeof(DrawResult),
                                           cudaMemcpyDeviceToHost, stream),
                         "what was drawn"));
  }
  return status_of(::cudaEventRecord(ended_, stream), "a step");
}

Result<std::vector<Result<DrawnToken>>> CudaStep::wait() {
  const auto started = steady_clock::now();
  while (true) {
    const cudaError_t state = ::cudaEventQuery(ended_);
    if (state == cudaSuccess) break;
    if (state != cudaErrorNotReady) return status_of(state, "a step");
    const auto waited = steady_clock::now() - started;
    if (waited > kMostPatience) return unavailable("CUDA: a step has not ended within a minute");
    if (waited > kSpin) std::this_thread::sleep_for(kNap);
  }
  std::vector<Result<DrawnToken>> drawn;
  if (!is_sampled_) return drawn;
  const auto* results = reinterpret_cast<const DrawResult*>(host_results_.data());
  for (uint32_t i = 0; i < draws(); ++i) {
    switch (results[i].outcome) {
      case DrawOutcome::kDrawn:
        drawn.emplace_back(token_of(results[i], has_logprobs_[i]));
        break;
      case DrawOutcome::kNotFinite:
        drawn.emplace_back(logits_are_no_numbers());
        break;
      case DrawOutcome::kNothingLeft:
        drawn.emplace_back(no_token_is_left());
        break;
    }
  }
  return drawn;
}

}  // namespace dynamo::kernels::cuda
