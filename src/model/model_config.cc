#include "model/model_config.h"

#include <cmath>

#include <fmt/format.h>

namespace dynamo::model {
namespace {

Status check_count(const char* name, uint64_t value, uint64_t most) {
  if (value >= 1 && value <= most) return {};
  return corrupt(fmt::format("{} is {}; expected 1 to {}", name, value, most));
}

Status check_number(const char* name, double value, double least, double most) {
  if (value >= least && value <= most) return {};  // false for a NaN
  return corrupt(fmt::format("{} is {}; expected {} to {}", name, value, least, most));
}

Status check_counts(const ModelConfig& config) {
  TRY_STATUS(check_count("the number of layers", config.layers, 1024));
  TRY_STATUS(check_count("the width", config.width, 1 << 17));
  TRY_STATUS(check_count("the number of heads", config.heads, 1024));
  TRY_STATUS(check_count("the number of KV heads", config.kv_heads, 1024));
  TRY_STATUS(check_count("the head dimension", config.head_dim, 1024));
  TRY_STATUS(check_count("the FFN width", config.ffn_width, 1 << 20));
  TRY_STATUS(check_count("the vocabulary", config.vocab_size, 1 << 24));
  return check_count("the context length", config.context_length, 1 << 24);
}

Status check_rope(const ModelConfig& config) {
  TRY_STATUS(check_number("the rope base", config.rope_base, 1, 1e12));
  for (const float factor : config.rope_factors) TRY_STATUS(check_number("a rope factor", factor, 1e-6, 1e6));
  if (!config.rope_scaling) return {};
  const RopeScaling& scaling = *config.rope_scaling;
  TRY_STATUS(check_number("the rope scaling factor", scaling.factor, 1e-3, 1e6));
  TRY_STATUS(check_number("the rope scaling's low frequency factor", scaling.low_frequency_factor, 1e-3, 1e6));
  TRY_STATUS(check_number("the rope scaling's high frequency factor", scaling.high_frequency_factor, 1e-3, 1e6));
  if (scaling.low_frequency_factor >= scaling.high_frequency_factor) {
    return corrupt(fmt::format("the rope scaling's low frequency factor {} is not below the high one {}",
                               scaling.low_frequency_factor, scaling.high_frequency_factor));
  }
  return check_count("the rope scaling's original context", scaling.original_context, 1 << 24);
}

Status check_token(const char* name, TokenId id, uint32_t vocab_size) {
  if (id < vocab_size) return {};
  return corrupt(fmt::format("the {} token id {} is outside the vocabulary of {}", name, id, vocab_size));
}

}  // namespace

Status validate(const ModelConfig& config) {
  TRY_STATUS(check_counts(config));
  if (config.heads % config.kv_heads != 0) {
    return corrupt(fmt::format("{} heads are no multiple of {} KV heads", config.heads, config.kv_heads));
  }
  if (config.head_dim % 2 != 0) return corrupt(fmt::format("the head dimension {} is odd", config.head_dim));
  TRY_STATUS(check_number("the norm's epsilon", config.norm_epsilon, 1e-30, 1));
  TRY_STATUS(check_rope(config));
  if (config.bos_token_id) TRY_STATUS(check_token("bos", *config.bos_token_id, config.vocab_size));
  for (const NamedEnd& end : config.named_ends) TRY_STATUS(check_token("eos", end.id, config.vocab_size));
  if (config.default_temperature)
    TRY_STATUS(check_number("the default temperature", *config.default_temperature, 0, 100));
  if (config.default_top_p) TRY_STATUS(check_number("the default top_p", *config.default_top_p, 0, 1));
  return {};
}

}  // namespace dynamo::model
