// A decoder's weights on its device: matrices packed as the backend likes them, vectors and rope tables as fp32.
//
// What is read together is stacked: q, k and v are one matrix, so are gate and up. Everything reaches the device through
// Backend::pack and upload, so that no dtype and no kind of memory is known here.  Threads: immutable once loaded.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "base/status.h"
#include "kernels/backend.h"
#include "model/model_source.h"

namespace dynamo::model {

struct LayerWeights {
  kernels::Tensor attention_norm;
  std::unique_ptr<kernels::Matrix> qkv;
  kernels::Tensor qkv_bias;  // none unless the model has it
  kernels::Tensor q_norm;    // none unless the model has them
  kernels::Tensor k_norm;
  std::unique_ptr<kernels::Matrix> attention_output;
  kernels::Tensor ffn_norm;
  std::unique_ptr<kernels::Matrix> gate_up;
  std::unique_ptr<kernels::Matrix> down;
};

struct DecoderWeights {
  ModelConfig config;
  std::unique_ptr<kernels::Matrix> embedding;
  std::unique_ptr<kernels::Matrix> own_output;  // null when the embedding is the output matrix too
  kernels::Tensor final_norm;
  std::vector<LayerWeights> layers;
  std::unique_ptr<kernels::Buffer> vectors;  // what the tensors here lie in

  const kernels::Matrix& output() const { return own_output ? *own_output : *embedding; }
  size_t bytes() const;  // of device memory
};

// Reads and packs all weights. `progress`, if set, is told the fraction done, in [0, 1], layer by layer. The source may
// be closed afterwards. Errors: those of ModelSource::weight, and of Backend::pack, upload and allocate.
Result<DecoderWeights> load_weights(const ModelSource& source, kernels::Backend* backend,
                                    const std::function<void(double)>& progress);

// cos and sin of `positions` positions.
struct RopeTables {
  kernels::RopeTable table;
  std::unique_ptr<kernels::Buffer> buffer;  // what it lies in
};
// Errors: those of Backend::upload and allocate.
Result<RopeTables> make_rope_tables(const ModelConfig& config, kernels::Backend* backend, uint32_t positions);

}  // namespace dynamo::model
