#include "model/decoder.h"

#include <algorithm>
#include <array>
#include <limits>
#include <utility>

namespace dynamo::model {
namespace {

using kernels::StepView;
using kernels::Tensor;

constexpr size_t kAlignment = 64;  // bytes: rows start on cache lines

// The activations of a step, each big enough for the largest; what a step does not use of them keeps stale values.
struct Activations {
  std::unique_ptr<kernels::Buffer> buffer;
  Tensor residual;  // [max_rows][width]
  Tensor normed;    // [max_rows][width]
  Tensor delta;     // [max_rows][width], what a half-layer adds to the residual
  Tensor qkv;       // [max_rows][(heads + 2 kv_heads) * head_dim]
  Tensor attended;  // [max_rows][heads * head_dim]
  Tensor gate_up;   // [max_rows][2 ffn_width]
  Tensor hidden;    // [max_rows][ffn_width]
  Tensor logits;    // [max_draws][vocab_size], fp32 on every device
};

Result<Activations> allocate_activations(const ModelConfig& config, const DecoderOptions& options,
                                         kernels::Backend* backend) {
  const size_t q_width = size_t{config.heads} * config.head_dim;
  const size_t qkv_width = q_width + 2 * size_t{config.kv_heads} * config.head_dim;
  const kernels::DType usual = backend->traits().activations;
  Activations a;
  struct Shape {
    Tensor* tensor;
    size_t rows;
    size_t columns;
    kernels::DType dtype;
  };
  const std::array<Shape, 8> shapes = {{{&a.residual, options.max_rows, config.width, usual},
                                        {&a.normed, options.max_rows, config.width, usual},
                                        {&a.delta, options.max_rows, config.width, usual},
                                        {&a.qkv, options.max_rows, qkv_width, usual},
                                        {&a.attended, options.max_rows, q_width, usual},
                                        {&a.gate_up, options.max_rows, 2 * size_t{config.ffn_width}, usual},
                                        {&a.hidden, options.max_rows, config.ffn_width, usual},
                                        {&a.logits, options.max_draws, config.vocab_size, kernels::DType::kF32}}};
  size_t bytes = 0;
  for (const auto& [tensor, rows, columns, dtype] : shapes) {
    const size_t row = (kernels::row_bytes(dtype, columns) + kAlignment - 1) / kAlignment * kAlignment;
    *tensor = {.buffer = nullptr,
               .offset = bytes,
               .dtype = dtype,
               .rows = rows,
               .columns = columns,
               .stride = row / kernels::block_bytes(dtype)};
    bytes += rows * row;
  }
  TRY(a.buffer, backend->allocate(bytes));
  for (const Shape& shape : shapes) shape.tensor->buffer = a.buffer.get();
  return a;
}

}  // namespace

struct Decoder::State {
  DecoderOptions options;
  kernels::Backend* backend = nullptr;
  DecoderWeights weights;
  RopeTables rope;
  kv::KvLayout layout;
  std::unique_ptr<kernels::Buffer> kv_pool;
  Activations activations;

  const ModelConfig& config() const { return weights.config; }
  void check_sequences(const kernels::PagedBatch& paged) const;
  kernels::KvView kv_of(uint32_t layer) const;
  void attend(const StepView& step, uint32_t layer, bool is_read);
  void feed_forward(const LayerWeights& layer, Tensor attended, Tensor residual, Tensor delta, Tensor next_norm);
};

kv::KvLayout kv_layout_of(const ModelConfig& config, const kernels::Traits& traits, uint32_t block_tokens) {
  return {.layers = config.layers,
          .kv_heads = config.kv_heads,
          .head_dim = config.head_dim,
          .block_tokens = block_tokens,
          .dtype = traits.kv};
}

Decoder::Decoder(std::unique_ptr<State> state) : state_(std::move(state)) {}
Decoder::~Decoder() = default;

Result<std::unique_ptr<Decoder>> Decoder::create(DecoderWeights weights, kernels::Backend* backend,
                                                 DecoderOptions options) {
  CHECK(options.block_tokens > 0 && options.kv_blocks > 0 && options.max_rows > 0);
  auto state = std::make_unique<State>();
  state->weights = std::move(weights);
  state->backend = backend;
  const ModelConfig& config = state->config();
  if (options.context_length == 0) options.context_length = config.context_length;
  // No sequence outgrows the pool, whatever length the file claims.
  options.context_length = static_cast<uint32_t>(
      std::min<uint64_t>(options.context_length, uint64_t{options.kv_blocks} * options.block_tokens));
  options.max_draws = std::min(options.max_draws, options.max_rows);
  state->options = options;
  state->layout = kv_layout_of(config, backend->traits(), options.block_tokens);
  if (state->layout.block_bytes() > std::numeric_limits<size_t>::max() / options.kv_blocks) {
    return exhausted("the KV pool would be larger than any memory");
  }
  TRY(state->activations, allocate_activations(config, options, backend));
  TRY(state->rope, make_rope_tables(config, backend, options.context_length));
  TRY(state->kv_pool, backend->allocate(options.kv_blocks * state->layout.block_bytes(), options.kv_sharing));
  return std::unique_ptr<Decoder>(new Decoder(std::move(state)));
}

void Decoder::State::check_sequences(const kernels::PagedBatch& paged) const {
  uint32_t next_row = 0;
  for (const kernels::PagedBatch::Sequence& sequence : paged.sequences) {
    CHECK(sequence.first_row == next_row && sequence.rows > 0 && sequence.rows <= paged.rows() - next_row);
    CHECK(sequence.rows <= sequence.length && sequence.length <= options.context_length);
    CHECK(sequence.seat < kernels::kMaxSeats);
    for (uint32_t row = 0; row < sequence.rows; ++row) {
      CHECK(paged.positions[next_row + row] == sequence.length - sequence.rows + row);
    }
    const size_t blocks = (size_t{sequence.length} + options.block_tokens - 1) / options.block_tokens;
    CHECK(sequence.first_block + blocks <= paged.block_table.size());
    next_row += sequence.rows;
  }
  CHECK(next_row == paged.rows());
}

void Decoder::check(const kernels::Step& step) const {
  const State& s = *state_;
  const uint32_t rows = step.paged.rows();
  CHECK(rows > 0 && rows <= s.options.max_rows && step.tokens.size() == rows);
  CHECK(step.paged.block_tokens == s.options.block_tokens);
  s.check_sequences(step.paged);
  for (const uint32_t block : step.paged.block_table) CHECK(block < s.options.kv_blocks);
  for (const TokenId token : step.tokens) CHECK(token < s.config().vocab_size || token == kernels::kDrawnLast);
  CHECK(step.draws.size() <= s.options.max_draws);
  for (size_t i = 0; i < step.draws.size(); ++i) {
    CHECK(step.draws[i].row < rows && step.draws[i].seat < kernels::kMaxSeats);
    CHECK(i == 0 || step.draws[i - 1].row < step.draws[i].row);
  }
}

kernels::KvView Decoder::State::kv_of(uint32_t layer) const {
  return {.buffer = kv_pool.get(),
          .offset = layout.offset(/*block=*/0, layer, /*side=*/0) * kv::bytes_of(layout.dtype),
          .dtype = layout.dtype,
          .block_stride = layout.block_elements(),
          .value_offset = layout.side_elements(),
          .kv_heads = layout.kv_heads,
          .head_dim = layout.head_dim,
          .block_tokens = layout.block_tokens};
}

// From `normed` to `attended`: projects, stores K and V, and, if anything reads the outcome, attends.
void Decoder::State::attend(const StepView& step, uint32_t layer, bool is_read) {
  const LayerWeights& w = weights.layers[layer];
  const Tensor qkv = activations.qkv.first(step.rows());
  backend->matmul(activations.normed.first(step.rows()), *w.qkv, w.qkv_bias, qkv);
  backend->rope_append(step, {.qkv = qkv,
                              .heads = config().heads,
                              .q_norm = w.q_norm,
                              .k_norm = w.k_norm,
                              .norm_epsilon = config().norm_epsilon,
                              .rope = rope.table,
                              .kv = kv_of(layer)});
  if (!is_read) return;
  const Tensor attended = activations.attended.first(step.rows());
  backend->attention(
      step, {.q = qkv.slice(0, attended.columns), .heads = config().heads, .kv = kv_of(layer), .out = attended});
}

// The rest of the layer: adds what attention found and the feed-forward's answer to the residual, and leaves it, normed
// by `next_norm`, in `normed`.
void Decoder::State::feed_forward(const LayerWeights& layer, Tensor attended, Tensor residual, Tensor delta,
                                  Tensor next_norm) {
  const size_t rows = residual.rows;
  const Tensor normed = activations.normed.first(rows);
  const Tensor gate_up = activations.gate_up.first(rows);
  const Tensor hidden = activations.hidden.first(rows);
  backend->matmul(attended, *layer.attention_output, Tensor(), delta);
  backend->add_rms_norm(delta, residual, layer.ffn_norm, config().norm_epsilon, normed);
  backend->matmul(normed, *layer.gate_up, Tensor(), gate_up);
  switch (config().plan().feed_forward) {
    case FeedForward::kGatedSilu:
      backend->silu_mul(gate_up, hidden);
  }
  backend->matmul(hidden, *layer.down, Tensor(), delta);
  backend->add_rms_norm(delta, residual, next_norm, config().norm_epsilon, normed);
}

void Decoder::forward(const StepView& step) {
  State& s = *state_;
  const uint32_t rows = step.rows();
  const uint32_t last = s.config().layers - 1;
  Tensor residual = s.activations.residual.first(rows);
  Tensor delta = s.activations.delta.first(rows);
  Tensor attended = s.activations.attended.first(rows);
  s.backend->embed(*s.weights.embedding, step, residual);
  s.backend->rms_norm(residual, s.weights.layers[0].attention_norm, s.config().norm_epsilon,
                      s.activations.normed.first(rows));
  for (uint32_t layer = 0; layer < last; ++layer) {
    s.attend(step, layer, /*is_read=*/true);
    s.feed_forward(s.weights.layers[layer], attended, residual, delta, s.weights.layers[layer + 1].attention_norm);
  }
  const uint32_t draws = step.draws();
  s.attend(step, last, /*is_read=*/draws > 0);
  if (draws == 0) return;
  if (draws < rows) {
    // After the last attention rows no longer meet: only those drawn from go on, in buffers that are free by now.
    const Tensor few_residual = s.activations.delta.first(draws);
    const Tensor few_attended = s.activations.qkv.first(draws).slice(0, attended.columns);
    s.backend->gather_drawn(step, residual, few_residual);
    s.backend->gather_drawn(step, attended, few_attended);
    delta = s.activations.residual.first(draws);
    residual = few_residual;
    attended = few_attended;
  }
  s.feed_forward(s.weights.layers[last], attended, residual, delta, s.weights.final_norm);
  s.backend->matmul(s.activations.normed.first(draws), s.weights.output(), Tensor(), logits(draws));
}

Tensor Decoder::logits(uint32_t draws) const {
  return state_->activations.logits.first(draws);
}
kernels::Backend* Decoder::backend() const {
  return state_->backend;
}
const ModelConfig& Decoder::config() const {
  return state_->config();
}
const kv::KvLayout& Decoder::kv_layout() const {
  return state_->layout;
}
const kernels::Buffer& Decoder::kv_pool() const {
  return *state_->kv_pool;
}
size_t Decoder::weight_bytes() const {
  return state_->weights.bytes() + state_->rope.buffer->bytes();
}

}  // namespace dynamo::model
