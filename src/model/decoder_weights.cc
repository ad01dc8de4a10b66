#include "model/decoder_weights.h"

#include <algorithm>
#include <initializer_list>
#include <numeric>
#include <utility>

#include "model/rope.h"

namespace dynamo::model {
namespace {

constexpr size_t kAlignedFloats = 16;  // one cache line

size_t aligned(size_t floats) {
  return (floats + kAlignedFloats - 1) / kAlignedFloats * kAlignedFloats;
}

// Floats of all vectors and tables, each rounded up to where the next may start.
size_t vector_floats(const ModelConfig& config, uint32_t positions) {
  const size_t qkv = (size_t{config.heads} + 2 * size_t{config.kv_heads}) * config.head_dim;
  size_t layer = 2 * aligned(config.width);
  if (config.plan().has_qkv_bias) layer += aligned(qkv);
  if (config.plan().has_qk_norm) layer += 2 * aligned(config.head_dim);
  return config.layers * layer + aligned(config.width) + 2 * aligned(size_t{positions} * (config.head_dim / 2));
}

class Loader {
 public:
  Loader(const ModelSource& source, kernels::Backend* backend, std::span<float> vectors)
      : source_(source), backend_(backend), free_(vectors) {}

  Result<std::unique_ptr<kernels::Matrix>> matrix(std::initializer_list<WeightRole> roles, uint32_t layer) {
    std::vector<kernels::MatrixSource> parts;
    for (const WeightRole role : roles) {
      TRY(const kernels::MatrixSource part, source_.weight(role, layer));
      parts.push_back(part);
    }
    return backend_->pack(parts);
  }

  // The vectors of `roles`, one after the other, as fp32.
  Result<const float*> vector(std::initializer_list<WeightRole> roles, uint32_t layer) {
    const float* start = free_.data();
    size_t floats = 0;
    for (const WeightRole role : roles) {
      TRY(const kernels::MatrixSource part, source_.weight(role, layer));
      CHECK(part.rows == 1 && floats + part.columns <= free_.size());
      TRY_STATUS(write_rows(part, free_.data() + floats));
      floats += part.columns;
    }
    free_ = free_.subspan(aligned(floats));
    return start;
  }

  Result<kernels::RopeTable> rope(uint32_t positions) {
    const std::vector<double> frequencies = rope_frequencies(source_.config());
    const size_t pairs = frequencies.size();
    float* cosines = free_.data();
    float* sines = cosines + aligned(positions * pairs);
    std::vector<float> host_cosines(kRopeRows * pairs);
    std::vector<float> host_sines(kRopeRows * pairs);
    for (uint32_t first = 0; first < positions; first += kRopeRows) {
      const uint32_t rows = std::min(kRopeRows, positions - first);
      for (uint32_t row = 0; row < rows; ++row) {
        rope_angles(frequencies, first + row, std::span(host_cosines).subspan(row * pairs, pairs),
                    std::span(host_sines).subspan(row * pairs, pairs));
      }
      TRY_STATUS(write_rows(floats_of(host_cosines, rows, pairs), cosines + first * pairs));
      TRY_STATUS(write_rows(floats_of(host_sines, rows, pairs), sines + first * pairs));
    }
    free_ = free_.subspan(2 * aligned(positions * pairs));
    return kernels::RopeTable{.cosines = cosines, .sines = sines, .positions = positions};
  }

 private:
  static constexpr uint32_t kRopeRows = 1024;  // positions moved at once

  static kernels::MatrixSource floats_of(const std::vector<float>& values, size_t rows, size_t columns) {
    return {.dtype = kernels::DType::kF32,
            .rows = rows,
            .columns = columns,
            .data = reinterpret_cast<const std::byte*>(values.data())};
  }

  // Puts the rows of `from` on the device, without gaps: a matrix whose rows are then looked up in order.
  Status write_rows(const kernels::MatrixSource& from, float* to) {
    TRY(const std::unique_ptr<kernels::Matrix> packed, backend_->pack(std::span(&from, 1)));
    std::vector<TokenId> ids(from.rows);
    std::iota(ids.begin(), ids.end(), 0);
    backend_->embed(*packed, ids, {.data = to, .rows = from.rows, .columns = from.columns, .stride = from.columns});
    return {};
  }

  const ModelSource& source_;
  kernels::Backend* backend_;
  std::span<float> free_;
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

Result<DecoderWeights> load_weights(const ModelSource& source, kernels::Backend* backend, uint32_t positions,
                                    const std::function<void(double)>& progress) {
  const ModelConfig& config = source.config();
  DecoderWeights weights;
  const size_t floats = vector_floats(config, positions);
  TRY(weights.vectors, backend->allocate(floats * sizeof(float)));
  Loader loader(source, backend, {reinterpret_cast<float*>(weights.vectors->data()), floats});
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
  TRY(weights.rope, loader.rope(positions));
  tell(1);
  for (uint32_t layer = 0; layer < config.layers; ++layer) {
    TRY(LayerWeights loaded, load_layer(&loader, config, layer));
    weights.layers.push_back(std::move(loaded));
    tell(layer + 2);
  }
  return weights;
}

}  // namespace dynamo::model
