// A family of models: all that is known of one architecture, in one value. Each has a file in model/families/.
//
// Readers of files know formats, not families: they read the fields that a family names and refuse what its rules exclude.
// The weights' names and shapes are its rows, and the decoder computes what its plan says. How to add one: README.md.
// Threads: constants.  Private to the module.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <variant>

#include "model/weight_role.h"

namespace dynamo::model {

struct ModelConfig;

// The activation between a feed-forward's matrices.
enum class FeedForward : uint8_t { kGatedSilu };

// What a layer computes besides what all have: an RMS norm before each half, grouped-query attention with rotated q and k.
struct LayerPlan {
  bool has_qkv_bias = false;
  bool has_qk_norm = false;  // of each head, before rotation
  FeedForward feed_forward = FeedForward::kGatedSilu;
};

// What a side of a weight is as long as.
enum class Extent : uint8_t { kOne, kVocab, kWidth, kHeads, kKvHeads, kHeadDim, kFfn };

// One weight, its names in both formats, and its shape; vectors (norms, biases) have one row.
struct WeightRow {
  WeightRole role;
  const char* hf;  // "{}" stands for the layer; a name without it is of the whole model
  const char* gguf;
  Extent rows;     // outputs
  Extent columns;  // inputs
};

// A number of the shape, by its names in both formats.
struct CountField {
  uint32_t ModelConfig::* value;
  const char* hf;
  const char* gguf;                             // behind "ARCHITECTURE."; null: the tensors tell it
  uint32_t ModelConfig::* otherwise = nullptr;  // whose value it has where it is absent; null: it must be there
};

// A field that changes what is computed: it is absent, or has the one value that is computed. To leave it out would give
// wrong answers without a word.
using FieldValue = std::variant<bool, double, std::string_view>;
struct Rule {
  const char* key;
  FieldValue only;
  bool is_zero_off = false;  // 0 means that the feature is off
};

// What transformers takes where config.json is silent.
struct HfDefaults {
  uint32_t head_dim = 0;  // 0: width / heads
  double norm_epsilon = 1e-6;
  double rope_base = 10000.0;
  bool has_tied_embedding = false;
};

// How each head's rows of q and k lie in a GGUF file: first and second half, or in pairs (0, half), (1, half + 1), ...
enum class RowOrder : uint8_t { kHalves, kPairs };

struct Family {
  const char* name;       // config.json's model_type
  const char* gguf_name;  // general.architecture, which begins its keys too
  LayerPlan plan;
  std::span<const WeightRow> weights;  // in the order in which a forward pass meets them; those of a layer together
  std::span<const CountField> counts;
  std::span<const Rule> hf_rules;    // of config.json
  std::span<const Rule> gguf_rules;  // of the metadata behind "ARCHITECTURE."
  HfDefaults hf_defaults = {};
  RowOrder gguf_qk_rows = RowOrder::kHalves;
};

}  // namespace dynamo::model
