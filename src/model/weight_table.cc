#include "model/weight_table.h"

#include <string_view>

#include <fmt/format.h>

#include "base/check.h"

namespace dynamo::model {
namespace {

enum class Extent : uint8_t { kOne, kVocab, kWidth, kHeads, kKvHeads, kHeadDim, kFfn };

struct Row {
  WeightRole role;
  bool is_per_layer;
  const char* hf;    // without "model.layers.N." when per layer
  const char* gguf;  // without "blk.N." when per layer
  Extent rows;
  Extent columns;
};

constexpr Row kTable[] = {
    {WeightRole::kTokenEmbedding, false, "model.embed_tokens.weight", "token_embd.weight", Extent::kVocab,
     Extent::kWidth},
    {WeightRole::kAttentionNorm, true, "input_layernorm.weight", "attn_norm.weight", Extent::kOne, Extent::kWidth},
    {WeightRole::kQ, true, "self_attn.q_proj.weight", "attn_q.weight", Extent::kHeads, Extent::kWidth},
    {WeightRole::kQBias, true, "self_attn.q_proj.bias", "attn_q.bias", Extent::kOne, Extent::kHeads},
    {WeightRole::kK, true, "self_attn.k_proj.weight", "attn_k.weight", Extent::kKvHeads, Extent::kWidth},
    {WeightRole::kKBias, true, "self_attn.k_proj.bias", "attn_k.bias", Extent::kOne, Extent::kKvHeads},
    {WeightRole::kV, true, "self_attn.v_proj.weight", "attn_v.weight", Extent::kKvHeads, Extent::kWidth},
    {WeightRole::kVBias, true, "self_attn.v_proj.bias", "attn_v.bias", Extent::kOne, Extent::kKvHeads},
    {WeightRole::kQNorm, true, "self_attn.q_norm.weight", "attn_q_norm.weight", Extent::kOne, Extent::kHeadDim},
    {WeightRole::kKNorm, true, "self_attn.k_norm.weight", "attn_k_norm.weight", Extent::kOne, Extent::kHeadDim},
    {WeightRole::kAttentionOutput, true, "self_attn.o_proj.weight", "attn_output.weight", Extent::kWidth,
     Extent::kHeads},
    {WeightRole::kFfnNorm, true, "post_attention_layernorm.weight", "ffn_norm.weight", Extent::kOne, Extent::kWidth},
    {WeightRole::kGate, true, "mlp.gate_proj.weight", "ffn_gate.weight", Extent::kFfn, Extent::kWidth},
    {WeightRole::kUp, true, "mlp.up_proj.weight", "ffn_up.weight", Extent::kFfn, Extent::kWidth},
    {WeightRole::kDown, true, "mlp.down_proj.weight", "ffn_down.weight", Extent::kWidth, Extent::kFfn},
    {WeightRole::kFinalNorm, false, "model.norm.weight", "output_norm.weight", Extent::kOne, Extent::kWidth},
    {WeightRole::kOutput, false, "lm_head.weight", "output.weight", Extent::kVocab, Extent::kWidth},
};

const Row& row_of(WeightRole role) {
  for (const Row& row : kTable) {
    if (row.role == role) return row;
  }
  check_failed(__FILE__, __LINE__, "role is in the table", "");
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

bool has_weight(const ModelConfig& config, WeightRole role) {
  switch (role) {
    case WeightRole::kOutput:
      return !config.has_tied_embedding;
    case WeightRole::kQBias:
    case WeightRole::kKBias:
    case WeightRole::kVBias:
      return config.has_qkv_bias;
    case WeightRole::kQNorm:
    case WeightRole::kKNorm:
      return config.has_qk_norm;
    default:
      return true;
  }
}

}  // namespace

bool is_per_layer(WeightRole role) {
  return row_of(role).is_per_layer;
}

bool is_vector(WeightRole role) {
  return row_of(role).rows == Extent::kOne;
}

std::string hf_weight_name(WeightSlot slot) {
  const Row& row = row_of(slot.role);
  return row.is_per_layer ? fmt::format("model.layers.{}.{}", slot.layer, row.hf) : row.hf;
}

std::string gguf_weight_name(WeightSlot slot) {
  const Row& row = row_of(slot.role);
  return row.is_per_layer ? fmt::format("blk.{}.{}", slot.layer, row.gguf) : row.gguf;
}

WeightShape weight_shape(const ModelConfig& config, WeightRole role) {
  const Row& row = row_of(role);
  return {size_of(config, row.rows), size_of(config, row.columns)};
}

std::vector<WeightSlot> weight_slots(const ModelConfig& config) {
  std::vector<WeightSlot> slots = {{WeightRole::kTokenEmbedding, 0}};
  for (uint32_t layer = 0; layer < config.layers; ++layer) {
    for (const Row& row : kTable) {
      if (row.is_per_layer && has_weight(config, row.role)) slots.push_back({row.role, layer});
    }
  }
  slots.push_back({WeightRole::kFinalNorm, 0});
  if (has_weight(config, WeightRole::kOutput)) slots.push_back({WeightRole::kOutput, 0});
  return slots;
}

}  // namespace dynamo::model
