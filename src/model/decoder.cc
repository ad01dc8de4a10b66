#include "model/decoder.h"

#include <algorithm>
#include <array>
#include <limits>
#include <utility>

#include "model/decoder_weights.h"

namespace dynamo::model {
namespace {

using kernels::View;

constexpr size_t kAlignedFloats = 16;  // rows start on cache lines

size_t row_stride(size_t columns) {
  return (columns + kAlignedFloats - 1) / kAlignedFloats * kAlignedFloats;
}

// The activations of a step, each big enough for the largest; what a step does not use of them keeps stale values.
struct Activations {
  std::unique_ptr<kernels::Buffer> buffer;
  View residual;  // [max_rows][width]
  View normed;    // [max_rows][width]
  View delta;     // [max_rows][width], what a half-layer adds to the residual
  View qkv;       // [max_rows][(heads + 2 kv_heads) * head_dim]
  View attended;  // [max_rows][heads * head_dim]
  View gate_up;   // [max_rows][2 ffn_width]
  View hidden;    // [max_rows][ffn_width]
  View logits;    // [max_logits_rows][vocab_size]
};

Result<Activations> allocate_activations(const ModelConfig& config, const DecoderOptions& options,
                                         kernels::Backend* backend) {
  const size_t q_width = size_t{config.heads} * config.head_dim;
  const size_t qkv_width = q_width + 2 * size_t{config.kv_heads} * config.head_dim;
  Activations a;
  struct Shape {
    View* view;
    size_t rows;
    size_t columns;
  };
  const std::array<Shape, 8> shapes = {{{&a.residual, options.max_rows, config.width},
                                        {&a.normed, options.max_rows, config.width},
                                        {&a.delta, options.max_rows, config.width},
                                        {&a.qkv, options.max_rows, qkv_width},
                                        {&a.attended, options.max_rows, q_width},
                                        {&a.gate_up, options.max_rows, 2 * size_t{config.ffn_width}},
                                        {&a.hidden, options.max_rows, config.ffn_width},
                                        {&a.logits, options.max_logits_rows, config.vocab_size}}};
  size_t floats = 0;
  for (const Shape& shape : shapes) floats += shape.rows * row_stride(shape.columns);
  TRY(a.buffer, backend->allocate(floats * sizeof(float)));
  auto* next = reinterpret_cast<float*>(a.buffer->data());
  for (const Shape& shape : shapes) {
    const size_t stride = row_stride(shape.columns);
    *shape.view = {.data = next, .rows = shape.rows, .columns = shape.columns, .stride = stride};
    next += shape.rows * stride;
  }
  return a;
}

View first_rows(View view, size_t rows) {
  CHECK(rows <= view.rows);
  view.rows = rows;
  return view;
}

}  // namespace

struct Decoder::State {
  ModelConfig config;
  DecoderOptions options;
  kernels::Backend* backend = nullptr;
  DecoderWeights weights;
  kv::KvLayout layout;
  std::unique_ptr<kernels::Buffer> kv_buffer;  // unless the memory was given
  std::span<std::byte> kv_pool;
  Activations activations;

  void check(const StepBatch& batch, size_t logits) const;
  kernels::KvView kv_of(uint32_t layer) const;
  void attend(const kernels::PagedBatch& batch, uint32_t layer, bool is_read);
  void feed_forward(const LayerWeights& layer, View attended, View residual, View delta, const float* next_norm);
};

Decoder::Decoder(std::unique_ptr<State> state) : state_(std::move(state)) {}
Decoder::~Decoder() = default;

Result<std::unique_ptr<Decoder>> Decoder::create(const ModelSource& source, kernels::Backend* backend,
                                                 DecoderOptions options, const std::function<void(double)>& progress) {
  CHECK(options.block_tokens > 0 && options.kv_blocks > 0 && options.max_rows > 0);
  CHECK(options.kv_dtype == kv::KvDtype::kF16 || options.kv_dtype == kv::KvDtype::kF32);
  auto state = std::make_unique<State>();
  state->config = source.config();
  state->backend = backend;
  if (options.context_length == 0) options.context_length = state->config.context_length;
  // No sequence outgrows the pool, whatever length the file claims.
  options.context_length = static_cast<uint32_t>(
      std::min<uint64_t>(options.context_length, uint64_t{options.kv_blocks} * options.block_tokens));
  options.max_logits_rows = std::min(options.max_logits_rows, options.max_rows);
  state->options = options;
  state->layout = {.layers = state->config.layers,
                   .kv_heads = state->config.kv_heads,
                   .head_dim = state->config.head_dim,
                   .block_tokens = options.block_tokens,
                   .dtype = options.kv_dtype};
  if (state->layout.block_bytes() > std::numeric_limits<size_t>::max() / options.kv_blocks) {
    return exhausted("the KV pool would be larger than any memory");
  }
  TRY(state->weights, load_weights(source, backend, options.context_length, progress));
  const size_t pool_bytes = options.kv_blocks * state->layout.block_bytes();
  state->kv_pool = options.kv_memory;
  if (options.kv_memory.empty()) {
    TRY(state->kv_buffer, backend->allocate(pool_bytes));
    state->kv_pool = {state->kv_buffer->data(), pool_bytes};
  }
  CHECK(state->kv_pool.size() >= pool_bytes);
  TRY(state->activations, allocate_activations(state->config, options, backend));
  return std::unique_ptr<Decoder>(new Decoder(std::move(state)));
}

void Decoder::State::check(const StepBatch& batch, size_t logits) const {
  const kernels::PagedBatch& paged = batch.paged;
  const uint32_t rows = paged.rows();
  CHECK(rows > 0 && rows <= options.max_rows && batch.tokens.size() == rows);
  CHECK(paged.block_tokens == options.block_tokens);
  uint32_t next_row = 0;
  for (const kernels::PagedBatch::Sequence& sequence : paged.sequences) {
    CHECK(sequence.first_row == next_row && sequence.rows > 0 && sequence.rows <= rows - next_row);
    CHECK(sequence.rows <= sequence.length && sequence.length <= options.context_length);
    for (uint32_t row = 0; row < sequence.rows; ++row) {
      CHECK(paged.positions[next_row + row] == sequence.length - sequence.rows + row);
    }
    const size_t blocks = (size_t{sequence.length} + options.block_tokens - 1) / options.block_tokens;
    CHECK(sequence.first_block + blocks <= paged.block_table.size());
    next_row += sequence.rows;
  }
  CHECK(next_row == rows);
  for (const uint32_t block : paged.block_table) CHECK(block < options.kv_blocks);
  for (const TokenId token : batch.tokens) CHECK(token < config.vocab_size);
  CHECK(batch.logits_rows.size() <= options.max_logits_rows);
  CHECK(std::ranges::adjacent_find(batch.logits_rows, std::greater_equal()) == batch.logits_rows.end());
  CHECK(batch.logits_rows.empty() || batch.logits_rows.back() < rows);
  CHECK(logits == batch.logits_rows.size() * config.vocab_size);
}

kernels::KvView Decoder::State::kv_of(uint32_t layer) const {
  const size_t element = kv::bytes_of(layout.dtype);
  return {.base = kv_pool.data() + layout.offset(/*block=*/0, layer, /*side=*/0) * element,
          .dtype = layout.dtype,
          .block_stride = layout.block_elements(),
          .value_offset = layout.side_elements(),
          .kv_heads = layout.kv_heads,
          .head_dim = layout.head_dim,
          .block_tokens = layout.block_tokens};
}

// From `normed` to `attended`: projects, stores K and V, and, if anything reads the outcome, attends.
void Decoder::State::attend(const kernels::PagedBatch& batch, uint32_t layer, bool is_read) {
  const LayerWeights& w = weights.layers[layer];
  const View qkv = first_rows(activations.qkv, batch.rows());
  backend->matmul(first_rows(activations.normed, batch.rows()), *w.qkv, w.qkv_bias, qkv);
  backend->rope_append({.batch = &batch,
                        .qkv = qkv,
                        .heads = config.heads,
                        .q_norm = w.q_norm,
                        .k_norm = w.k_norm,
                        .norm_epsilon = config.norm_epsilon,
                        .rope = weights.rope,
                        .kv = kv_of(layer)});
  if (!is_read) return;
  const View attended = first_rows(activations.attended, batch.rows());
  backend->attention({.batch = &batch,
                      .q = qkv.slice(0, attended.columns),
                      .heads = config.heads,
                      .kv = kv_of(layer),
                      .out = attended});
}

// The rest of the layer: adds what attention found and the feed-forward's answer to the residual, and leaves it, normed
// by `next_norm`, in `normed`.
void Decoder::State::feed_forward(const LayerWeights& layer, View attended, View residual, View delta,
                                  const float* next_norm) {
  const size_t rows = residual.rows;
  const View normed = first_rows(activations.normed, rows);
  const View gate_up = first_rows(activations.gate_up, rows);
  const View hidden = first_rows(activations.hidden, rows);
  backend->matmul(attended, *layer.attention_output, nullptr, delta);
  backend->add_rms_norm(delta, residual, layer.ffn_norm, config.norm_epsilon, normed);
  backend->matmul(normed, *layer.gate_up, nullptr, gate_up);
  switch (config.plan().feed_forward) {
    case FeedForward::kGatedSilu:
      backend->silu_mul(gate_up, hidden);
  }
  backend->matmul(hidden, *layer.down, nullptr, delta);
  backend->add_rms_norm(delta, residual, next_norm, config.norm_epsilon, normed);
}

void Decoder::forward(const StepBatch& batch, std::span<float> logits, const std::function<void()>& after_layer) {
  State& s = *state_;
  s.check(batch, logits.size());
  const uint32_t rows = batch.paged.rows();
  const uint32_t last = s.config.layers - 1;
  View residual = first_rows(s.activations.residual, rows);
  View delta = first_rows(s.activations.delta, rows);
  View attended = first_rows(s.activations.attended, rows);
  s.backend->embed(*s.weights.embedding, batch.tokens, residual);
  s.backend->rms_norm(residual, s.weights.layers[0].attention_norm, s.config.norm_epsilon,
                      first_rows(s.activations.normed, rows));
  for (uint32_t layer = 0; layer < last; ++layer) {
    s.attend(batch.paged, layer, /*is_read=*/true);
    s.feed_forward(s.weights.layers[layer], attended, residual, delta, s.weights.layers[layer + 1].attention_norm);
    if (after_layer) after_layer();
  }
  const size_t wanted = batch.logits_rows.size();
  s.attend(batch.paged, last, /*is_read=*/wanted > 0);
  if (wanted == 0) return;
  if (wanted < rows) {
    // After the last attention rows no longer meet: only those asked for go on, in buffers that are free by now.
    const View few_residual = first_rows(s.activations.delta, wanted);
    const View few_attended = first_rows(s.activations.qkv, wanted).slice(0, attended.columns);
    s.backend->gather_rows(residual, batch.logits_rows, few_residual);
    s.backend->gather_rows(attended, batch.logits_rows, few_attended);
    delta = first_rows(s.activations.residual, wanted);
    residual = few_residual;
    attended = few_attended;
  }
  s.feed_forward(s.weights.layers[last], attended, residual, delta, s.weights.final_norm);
  const View out = first_rows(s.activations.logits, wanted);
  s.backend->matmul(first_rows(s.activations.normed, wanted), s.weights.output(), nullptr, out);
  s.backend->copy_out(out, logits);
}

const ModelConfig& Decoder::config() const {
  return state_->config;
}
const kv::KvLayout& Decoder::kv_layout() const {
  return state_->layout;
}
std::span<std::byte> Decoder::kv_pool() const {
  return state_->kv_pool;
}
size_t Decoder::weight_bytes() const {
  return state_->weights.bytes();
}

}  // namespace dynamo::model
