#include "model/decoder_weights.h"

#include <algorithm>
#include <initializer_list>
#include <utility>

#include "model/rope.h"

namespace dynamo::model {
namespace {

constexpr size_t kAlignedFloats = 16;  // one cache line

size_t aligned(size_t floats) {
  return (floats + kAlignedFloats - 1) / kAlignedFloats * kAlignedFloats;
}

// Floats of all vectors, each rounded up to where the next may start.
size_t vector_floats(const ModelConfig& config) {
  const size_t qkv = (size_t{config.heads} + 2 * size_t{config.kv_heads}) * config.head_dim;
  size_t layer = 2 * aligned(config.width);
  if (config.plan().has_qkv_bias) layer += aligned(qkv);
  if (config.plan().has_qk_norm) layer += 2 * aligned(config.head_dim);
  return config.layers * layer + aligned(config.width);
}

kernels::Tensor floats_at(const kernels::Buffer* buffer, size_t first, size_t rows, size_t columns) {
  return {.buffer = buffer,
          .offset = first * sizeof(float),
          .dtype = kernels::DType::kF32,
          .rows = rows,
          .columns = columns,
          .stride = columns};
}

class Loader {
 public:
  Loader(const ModelSource& source, kernels::Backend* backend, const kernels::Buffer* vectors)
      : source_(source), backend_(backend), vectors_(vectors) {}

  Result<std::unique_ptr<kernels::Matrix>> matrix(std::initializer_list<WeightRole> roles, uint32_t layer) {
    std::vector<kernels::MatrixSource> parts;
    for (const WeightRole role : roles) {
      TRY(const kernels::MatrixSource part, source_.weight(role, layer));
      parts.push_back(part);
    }
    return backend_->pack(parts);
  }

  // The vectors of `roles`, one after the other, as fp32.
  Result<kernels::Tensor> vector(std::initializer_list<WeightRole> roles, uint32_t layer) {
    size_t floats = 0;
    for (const WeightRole role : roles) {
      TRY(const kernels::MatrixSource part, source_.weight(role, layer));
      CHECK(part.rows == 1 && (next_ + floats + part.columns) * sizeof(float) <= vectors_->bytes());
      TRY_STATUS(backend_->upload(part, floats_at(vectors_, next_ + floats, 1, part.columns)));
      floats += part.columns;
    }
    const kernels::Tensor all = floats_at(vectors_, next_, 1, floats);
    next_ += aligned(floats);
    return all;
  }

 private:
  const ModelSource& source_;
  kernels::Backend* backend_;
  const kernels::Buffer* vectors_;
  size_t next_ = 0;  // float of vectors_ that is free
};

Result<LayerWeights> load_layer(Loader* loader, const ModelConfig& config, uint32_t layer) {
  using enum WeightRole;
  LayerWeights weights;
  TRY(weights.attention_norm, loader->vector({kAttentionNorm}, layer));
  TRY(weights.qkv, loader->matrix({kQ, kK, kV}, layer));
  if (config.plan().has_qkv_bias) {
    TRY(weights.qkv_bias, loader->vector({kQBias, kKBias, kVBias}, layer));
  }
  if (config.plan().has_qk_norm) {
    TRY(weights.q_norm, loader->vector({kQNorm}, layer));
    TRY(weights.k_norm, loader->vector({kKNorm}, layer));
  }
  TRY(weights.attention_output, loader->matrix({kAttentionOutput}, layer));
  TRY(weights.ffn_norm, loader->vector({kFfnNorm}, layer));
  TRY(weights.gate_up, loader->matrix({kGate, kUp}, layer));
  TRY(weights.down, loader->matrix({kDown}, layer));
  return weights;
}

}  // namespace

size_t DecoderWeights::bytes() const {
  size_t bytes = embedding->bytes() + (own_output ? own_output->bytes() : 0) + vectors->bytes();
  for (const LayerWeights& layer : layers) {
    bytes += layer.qkv->bytes() + layer.attention_output->bytes() + layer.gate_up->bytes() + layer.down->bytes();
  }
  return bytes;
}

Result<DecoderWeights> load_weights(const ModelSource& source, kernels::Backend* backend,
                                    const std::function<void(double)>& progress) {
  DecoderWeights weights;
  weights.config = source.config();
  const ModelConfig& config = weights.config;
  TRY(weights.vectors, backend->allocate(vector_floats(config) * sizeof(float)));
  Loader loader(source, backend, weights.vectors.get());
  // The embedding counts as one layer.
  const auto tell = [&](uint32_t done) {
    if (progress) progress(static_cast<double>(done) / (config.layers + 1));
  };
  tell(0);
  TRY(weights.embedding, loader.matrix({WeightRole::kTokenEmbedding}, 0));
  if (!config.has_tied_embedding) {
    TRY(weights.own_output, loader.matrix({WeightRole::kOutput}, 0));
  }
  TRY(weights.final_norm, loader.vector({WeightRole::kFinalNorm}, 0));
  tell(1);
  for (uint32_t layer = 0; layer < config.layers; ++layer) {
    TRY(LayerWeights loaded, load_layer(&loader, config, layer));
    weights.layers.push_back(std::move(loaded));
    tell(layer + 2);
  }
  return weights;
}

Result<RopeTables> make_rope_tables(const ModelConfig& config, kernels::Backend* backend, uint32_t positions) {
  constexpr uint32_t kRowsAtOnce = 1024;
  const std::vector<double> frequencies = rope_frequencies(config);
  const size_t pairs = frequencies.size();
  const size_t floats = aligned(positions * pairs);
  RopeTables tables;
  TRY(tables.buffer, backend->allocate(2 * floats * sizeof(float)));
  tables.table = {.cosines = floats_at(tables.buffer.get(), 0, positions, pairs),
                  .sines = floats_at(tables.buffer.get(), floats, positions, pairs)};
  std::vector<float> cosines(kRowsAtOnce * pairs);
  std::vector<float> sines(kRowsAtOnce * pairs);
  for (uint32_t first = 0; first < positions; first += kRowsAtOnce) {
    const uint32_t rows = std::min(kRowsAtOnce, positions - first);
    for (uint32_t row = 0; row < rows; ++row) {
      rope_angles(frequencies, first + row, std::span(cosines).subspan(row * pairs, pairs),
                  std::span(sines).subspan(row * pairs, pairs));
    }
    const auto put = [&](const std::vector<float>& values, size_t begin) {
      const kernels::MatrixSource from{.dtype = kernels::DType::kF32,
                                       .rows = rows,
                                       .columns = pairs,
                                       .data = reinterpret_cast<const std::byte*>(values.data())};
      return backend->upload(from, floats_at(tables.buffer.get(), begin + first * pairs, rows, pairs));
    };
    TRY_STATUS(put(cosines, 0));
    TRY_STATUS(put(sines, floats));
  }
  return tables;
}

}  // namespace dynamo::model
