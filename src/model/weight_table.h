// Which weights a model has, what each is called in each kind of file, and its shape: its family's rows, made out for its
// config.  Threads: pure functions.
#pragma once

#include <compare>
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
  auto operator<=>(const WeightSlot&) const = default;
};

// Vectors have one row.
struct WeightShape {
  uint64_t rows = 0;     // outputs
  uint64_t columns = 0;  // inputs
  bool operator==(const WeightShape&) const = default;
};

// Requires, of all that take a role: the config's family has it.

// A norm or a bias: stored with one dimension.
bool is_vector(const ModelConfig& config, WeightRole role);

// "model.layers.3.self_attn.q_proj.weight", and "blk.3.attn_q.weight".
std::string hf_weight_name(const ModelConfig& config, WeightSlot slot);
std::string gguf_weight_name(const ModelConfig& config, WeightSlot slot);

WeightShape weight_shape(const ModelConfig& config, WeightRole role);
// Every weight that a model of this shape must have, in the order in which a forward pass meets them.
std::vector<WeightSlot> weight_slots(const ModelConfig& config);

}  // namespace dynamo::model
