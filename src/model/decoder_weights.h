// A decoder's weights on its device: matrices packed as the backend likes them, vectors and rope tables as fp32.
//
// What is read together is stacked: q, k and v are one matrix, so are gate and up. Everything reaches the device through
// Backend::pack and embed, so that no dtype and no kind of memory is known here.  Threads: immutable once loaded.
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
  const float* attention_norm = nullptr;
  std::unique_ptr<kernels::Matrix> qkv;
  const float* qkv_bias = nullptr;  // null unless the model has it
  const float* q_norm = nullptr;    // null unless the model has them
  const float* k_norm = nullptr;
  std::unique_ptr<kernels::Matrix> attention_output;
  const float* ffn_norm = nullptr;
  std::unique_ptr<kernels::Matrix> gate_up;
  std::unique_ptr<kernels::Matrix> down;
};

struct DecoderWeights {
  std::unique_ptr<kernels::Matrix> embedding;
  std::unique_ptr<kernels::Matrix> own_output;  // null when the embedding is the output matrix too
  const float* final_norm = nullptr;
  std::vector<LayerWeights> layers;
  kernels::RopeTable rope;
  std::unique_ptr<kernels::Buffer> vectors;  // what the pointers here point into

  const kernels::Matrix& output() const { return own_output ? *own_output : *embedding; }
  size_t bytes() const;  // of device memory
};

// Reads and packs all weights, and makes rope tables of `positions` positions. `progress`, if set, is told the fraction
// done, layer by layer. Errors: those of ModelSource::weight, Backend::pack and Backend::allocate.
Result<DecoderWeights> load_weights(const ModelSource& source, kernels::Backend* backend, uint32_t positions,
                                    const std::function<void(double)>& progress);

}  // namespace dynamo::model
