#include "model/weight_table.h"

#include <algorithm>
#include <string_view>

#include <fmt/format.h>

#include "base/check.h"

namespace dynamo::model {
namespace {

const WeightRow& row_of(const ModelConfig& config, WeightRole role) {
  for (const WeightRow& row : config.family->weights) {
    if (row.role == role) return row;
  }
  check_failed(__FILE__, __LINE__, "the family has a row of this role", "");
}

constexpr std::string_view kLayer = "{}";

bool is_per_layer(const WeightRow& row) {
  return std::string_view(row.hf).find(kLayer) != std::string_view::npos;
}

std::string name_of(std::string_view pattern, uint32_t layer) {
  const size_t at = pattern.find(kLayer);
  if (at == std::string_view::npos) return std::string(pattern);
  return fmt::format("{}{}{}", pattern.substr(0, at), layer, pattern.substr(at + kLayer.size()));
}

uint64_t size_of(const ModelConfig& config, Extent extent) {
  switch (extent) {
    case Extent::kOne:
      return 1;
    case Extent::kVocab:
      return config.vocab_size;
    case Extent::kWidth:
      return config.width;
    case Extent::kHeads:
      return uint64_t{config.heads} * config.head_dim;
    case Extent::kKvHeads:
      return uint64_t{config.kv_heads} * config.head_dim;
    case Extent::kHeadDim:
      return config.head_dim;
    case Extent::kFfn:
      return config.ffn_width;
  }
  return 0;
}

}  // namespace

bool is_vector(const ModelConfig& config, WeightRole role) {
  return row_of(config, role).rows == Extent::kOne;
}

std::string hf_weight_name(const ModelConfig& config, WeightSlot slot) {
  return name_of(row_of(config, slot.role).hf, slot.layer);
}

std::string gguf_weight_name(const ModelConfig& config, WeightSlot slot) {
  return name_of(row_of(config, slot.role).gguf, slot.layer);
}

WeightShape weight_shape(const ModelConfig& config, WeightRole role) {
  const WeightRow& row = row_of(config, role);
  return {size_of(config, row.rows), size_of(config, row.columns)};
}

std::vector<WeightSlot> weight_slots(const ModelConfig& config) {
  const auto rows = config.family->weights;
  const auto first = std::find_if(rows.begin(), rows.end(), is_per_layer);
  const auto last = std::find_if_not(first, rows.end(), is_per_layer);
  std::vector<WeightSlot> slots;
  for (auto row = rows.begin(); row != first; ++row) slots.push_back({row->role, 0});
  for (uint32_t layer = 0; layer < config.layers; ++layer) {
    for (auto row = first; row != last; ++row) slots.push_back({row->role, layer});
  }
  for (auto row = last; row != rows.end(); ++row) {
    if (row->role == WeightRole::kOutput && config.has_tied_embedding) continue;
    slots.push_back({row->role, 0});
  }
  return slots;
}

}  // namespace dynamo::model
