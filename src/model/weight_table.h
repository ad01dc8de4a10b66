// Which weights a decoder has, what each is called in each kind of file, and its shape.
// The one table that readers, the summary and the writers of test models share.  Threads: pure functions.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "model/model_config.h"
#include "model/weight_role.h"

namespace dynamo::model {

// One weight of one model; `layer` is 0 for those of the whole model.
struct WeightSlot {
  WeightRole role = WeightRole::kTokenEmbedding;
  uint32_t layer = 0;
  bool operator==(const WeightSlot&) const = default;
};

// Vectors have one row.
struct WeightShape {
  uint64_t rows = 0;     // outputs
  uint64_t columns = 0;  // inputs
  bool operator==(const WeightShape&) const = default;
};

bool is_per_layer(WeightRole role);
// A norm or a bias: stored with one dimension.
bool is_vector(WeightRole role);

// "model.layers.3.self_attn.q_proj.weight", and "blk.3.attn_q.weight".
std::string hf_weight_name(WeightSlot slot);
std::string gguf_weight_name(WeightSlot slot);

WeightShape weight_shape(const ModelConfig& config, WeightRole role);
// Every weight that a model of this shape must have, in the order in which a forward pass meets them.
std::vector<WeightSlot> weight_slots(const ModelConfig& config);

}  // namespace dynamo::model
