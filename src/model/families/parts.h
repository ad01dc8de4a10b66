// What families share: a family lists those parts that it has, and writes out those that are its own.
//
// Names as in transformers' modeling code and llama.cpp's constants.  Private to the module.  Threads: constants.
#pragma once

#include <algorithm>
#include <array>

#include "model/family.h"
#include "model/model_config.h"

namespace dynamo::model::parts {

template <class T, size_t... N>
consteval auto join(const std::array<T, N>&... lists) {
  std::array<T, (N + ...)> all{};
  auto end = all.begin();
  ((end = std::copy(lists.begin(), lists.end(), end)), ...);
  return all;
}

using enum WeightRole;
using enum Extent;

inline constexpr WeightRow kEmbeddingRow = {kTokenEmbedding, "model.embed_tokens.weight", "token_embd.weight", kVocab,
                                            kWidth};
inline constexpr WeightRow kAttentionNormRow = {kAttentionNorm, "model.layers.{}.input_layernorm.weight",
                                                "blk.{}.attn_norm.weight", kOne, kWidth};
inline constexpr WeightRow kQRow = {kQ, "model.layers.{}.self_attn.q_proj.weight", "blk.{}.attn_q.weight", kHeads,
                                    kWidth};
inline constexpr WeightRow kQBiasRow = {kQBias, "model.layers.{}.self_attn.q_proj.bias", "blk.{}.attn_q.bias", kOne,
                                        kHeads};
inline constexpr WeightRow kKRow = {kK, "model.layers.{}.self_attn.k_proj.weight", "blk.{}.attn_k.weight", kKvHeads,
                                    kWidth};
inline constexpr WeightRow kKBiasRow = {kKBias, "model.layers.{}.self_attn.k_proj.bias", "blk.{}.attn_k.bias", kOne,
                                        kKvHeads};
inline constexpr WeightRow kVRow = {kV, "model.layers.{}.self_attn.v_proj.weight", "blk.{}.attn_v.weight", kKvHeads,
                                    kWidth};
inline constexpr WeightRow kVBiasRow = {kVBias, "model.layers.{}.self_attn.v_proj.bias", "blk.{}.attn_v.bias", kOne,
                                        kKvHeads};
inline constexpr WeightRow kQNormRow = {kQNorm, "model.layers.{}.self_attn.q_norm.weight", "blk.{}.attn_q_norm.weight",
                                        kOne, kHeadDim};
inline constexpr WeightRow kKNormRow = {kKNorm, "model.layers.{}.self_attn.k_norm.weight", "blk.{}.attn_k_norm.weight",
                                        kOne, kHeadDim};
inline constexpr WeightRow kAttentionOutputRow = {kAttentionOutput, "model.layers.{}.self_attn.o_proj.weight",
                                                  "blk.{}.attn_output.weight", kWidth, kHeads};
inline constexpr WeightRow kFfnNormRow = {kFfnNorm, "model.layers.{}.post_attention_layernorm.weight",
                                          "blk.{}.ffn_norm.weight", kOne, kWidth};
inline constexpr WeightRow kGateRow = {kGate, "model.layers.{}.mlp.gate_proj.weight", "blk.{}.ffn_gate.weight", kFfn,
                                       kWidth};
inline constexpr WeightRow kUpRow = {kUp, "model.layers.{}.mlp.up_proj.weight", "blk.{}.ffn_up.weight", kFfn, kWidth};
inline constexpr WeightRow kDownRow = {kDown, "model.layers.{}.mlp.down_proj.weight", "blk.{}.ffn_down.weight", kWidth,
                                       kFfn};
inline constexpr WeightRow kFinalNormRow = {kFinalNorm, "model.norm.weight", "output_norm.weight", kOne, kWidth};
inline constexpr WeightRow kOutputRow = {kOutput, "lm_head.weight", "output.weight", kVocab, kWidth};

inline constexpr std::array kCounts = {
    CountField{&ModelConfig::layers, "num_hidden_layers", "block_count"},
    CountField{&ModelConfig::width, "hidden_size", "embedding_length"},
    CountField{&ModelConfig::heads, "num_attention_heads", "attention.head_count"},
    CountField{&ModelConfig::ffn_width, "intermediate_size", "feed_forward_length"},
    CountField{&ModelConfig::vocab_size, "vocab_size", nullptr},
    CountField{&ModelConfig::context_length, "max_position_embeddings", "context_length"},
    CountField{&ModelConfig::kv_heads, "num_key_value_heads", "attention.head_count_kv", &ModelConfig::heads},
};

inline constexpr std::array kHfRules = {
    Rule{"mlp_bias", false},
    Rule{"use_sliding_window", false},
    Rule{"hidden_act", "silu"},
    Rule{"partial_rotary_factor", 1.0},
};
inline constexpr std::array kHfNoAttentionBias = {Rule{"attention_bias", false}};

inline constexpr std::array kGgufRules = {
    Rule{"attention.sliding_window", 0.0}, Rule{"attention.max_alibi_bias", 0.0}, Rule{"attention.clamp_kqv", 0.0},
    Rule{"attn_logit_softcapping", 0.0},   Rule{"final_logit_softcapping", 0.0},  Rule{"rope.scaling.factor", 1.0},
    Rule{"rope.scale_linear", 1.0},        Rule{"logit_scale", 1.0, true},        Rule{"residual_scale", 1.0, true},
    Rule{"embedding_scale", 1.0, true},    Rule{"attention.causal", true},
};
inline constexpr std::array kGgufNoExperts = {Rule{"expert_count", 0.0}};

}  // namespace dynamo::model::parts
