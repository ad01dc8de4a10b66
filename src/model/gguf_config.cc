#include "model/gguf_config.h"

#include <algorithm>
#include <cstring>

#include <fmt/format.h>

#include "model/quote_name.h"
#include "model/weight_table.h"

namespace dynamo::model {
namespace {

constexpr const char* kRopeFactors = "rope_freqs.weight";

Status missing(std::string_view key) {
  return corrupt(fmt::format("metadata {} is missing", quote_name(key)));
}

Result<uint32_t> checked_count(std::string_view key, uint64_t value) {
  if (value > UINT32_MAX)
    return corrupt(fmt::format("metadata {} is {}; expected at most 2^32 - 1", quote_name(key), value));
  return static_cast<uint32_t>(value);
}

class ConfigReader {
 public:
  ConfigReader(const GgufFile& file, Architecture architecture) : file_(file) {
    config_.architecture = architecture;
    prefix_ = fmt::format("{}.", architecture_name(architecture));
  }

  Result<ModelConfig> read() {
    TRY_STATUS(read_shape());
    TRY_STATUS(read_heads());
    TRY_STATUS(read_numbers());
    TRY_STATUS(refuse_features());
    TRY_STATUS(read_rope_factors());
    TRY_STATUS(read_tokens());
    TRY_STATUS(read_sampling());
    TRY_STATUS(validate(config_));
    return std::move(config_);
  }

 private:
  Result<std::optional<uint32_t>> find_count(const std::string& key) {
    TRY(const auto value, file_.find_unsigned(key));
    if (!value) return std::optional<uint32_t>();
    TRY(const uint32_t count, checked_count(key, *value));
    return std::optional(count);
  }

  Result<uint32_t> count(const char* name) {
    TRY(const auto value, find_count(prefix_ + name));
    if (!value) return missing(prefix_ + name);
    return *value;
  }

  Status read_shape() {
    TRY(const auto name, file_.find_string("general.name"));
    config_.name = std::string(name.value_or(""));
    TRY(config_.layers, count("block_count"));
    TRY(config_.width, count("embedding_length"));
    TRY(config_.ffn_width, count("feed_forward_length"));
    TRY(config_.context_length, count("context_length"));
    const GgufTensor* embedding = file_.find_tensor(gguf_weight_name({WeightRole::kTokenEmbedding, 0}));
    if (embedding == nullptr) return corrupt("tensor 'token_embd.weight' is missing");
    TRY(config_.vocab_size, checked_count("rows of token_embd.weight", embedding->dims[1]));
    TRY(const auto claimed, file_.find_unsigned(prefix_ + "vocab_size"));
    if (claimed && *claimed != config_.vocab_size) {
      return corrupt(fmt::format("metadata '{}vocab_size' is {}, but tensor 'token_embd.weight' has {} rows", prefix_,
                                 *claimed, config_.vocab_size));
    }
    config_.has_tied_embedding = file_.find_tensor(gguf_weight_name({WeightRole::kOutput, 0})) == nullptr;
    config_.has_qkv_bias = config_.architecture == Architecture::kQwen2;
    config_.has_qk_norm = config_.architecture == Architecture::kQwen3;
    return {};
  }

  Status read_heads() {
    TRY(config_.heads, count("attention.head_count"));
    TRY(const auto kv_heads, find_count(prefix_ + "attention.head_count_kv"));
    config_.kv_heads = kv_heads.value_or(config_.heads);
    TRY(const auto key_length, find_count(prefix_ + "attention.key_length"));
    TRY(const auto value_length, find_count(prefix_ + "attention.value_length"));
    if (!key_length && config_.heads > 0 && config_.width % config_.heads != 0) {
      return corrupt(
          fmt::format("width {} is no multiple of {} heads, and metadata '{}attention.key_length' is missing",
                      config_.width, config_.heads, prefix_));
    }
    config_.head_dim = key_length.value_or(config_.heads > 0 ? config_.width / config_.heads : 0);
    if (value_length.value_or(config_.head_dim) != config_.head_dim) {
      return unsupported(fmt::format("keys of {} and values of {} dimensions; only equal ones are computed",
                                     config_.head_dim, *value_length));
    }
    TRY(const auto rotated, find_count(prefix_ + "rope.dimension_count"));
    if (rotated.value_or(config_.head_dim) != config_.head_dim) {
      return unsupported(
          fmt::format("rotation of {} of {} dimensions; only of all is computed", *rotated, config_.head_dim));
    }
    return {};
  }

  Status read_numbers() {
    const std::string epsilon_key = prefix_ + "attention.layer_norm_rms_epsilon";
    TRY(const auto epsilon, file_.find_number(epsilon_key));
    if (!epsilon) return missing(epsilon_key);
    config_.norm_epsilon = static_cast<float>(*epsilon);
    TRY(const auto base, file_.find_number(prefix_ + "rope.freq_base"));
    config_.rope_base = static_cast<float>(base.value_or(10000.0));
    return {};
  }

  // Keys that change what is computed; leaving one out would give wrong answers without a word.
  Status refuse_features() {
    TRY(const auto scaling, file_.find_string(prefix_ + "rope.scaling.type"));
    if (scaling && *scaling != "none") {
      return unsupported(fmt::format("metadata '{}rope.scaling.type': rope scaling {}", prefix_, quote_name(*scaling)));
    }
    for (const char* name : {"expert_count", "attention.sliding_window", "attention.max_alibi_bias",
                             "attention.clamp_kqv", "attn_logit_softcapping", "final_logit_softcapping"}) {
      TRY(const auto value, file_.find_number(prefix_ + name));
      if (value.value_or(0) != 0)
        return unsupported(fmt::format("metadata '{}{}' is {}; only 0 is computed", prefix_, name, *value));
    }
    for (const char* name :
         {"rope.scaling.factor", "rope.scale_linear", "logit_scale", "residual_scale", "embedding_scale"}) {
      TRY(const auto value, file_.find_number(prefix_ + name));
      const bool has_no_effect = value.value_or(1) == 1 || (*value == 0 && std::strstr(name, "_scale") != nullptr);
      if (!has_no_effect)
        return unsupported(fmt::format("metadata '{}{}' is {}; only 1 is computed", prefix_, name, *value));
    }
    TRY(const auto is_causal, file_.find_bool(prefix_ + "attention.causal"));
    if (!is_causal.value_or(true)) return unsupported("attention that is not causal");
    return {};
  }

  Status read_rope_factors() {
    const GgufTensor* tensor = file_.find_tensor(kRopeFactors);
    if (tensor == nullptr) return {};
    if (tensor->type != 0 || tensor->dim_count != 1 || tensor->dims[0] * 2 != config_.head_dim) {
      return corrupt(fmt::format("tensor '{}': expected {} values of type F32", kRopeFactors, config_.head_dim / 2));
    }
    config_.rope_factors.resize(tensor->dims[0]);
    std::memcpy(config_.rope_factors.data(), tensor->data.data(), tensor->data.size());
    return {};
  }

  Status read_tokens() {
    TRY(config_.bos_token_id, find_count("tokenizer.ggml.bos_token_id"));
    for (const char* key :
         {"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id"}) {
      TRY(const auto id, find_count(key));
      if (id) config_.named_ends.push_back({*id, key});
    }
    return {};
  }

  Status read_sampling() {
    TRY(const auto temperature, file_.find_number("general.sampling.temp"));
    TRY(const auto top_p, file_.find_number("general.sampling.top_p"));
    TRY(const auto top_k, file_.find_number("general.sampling.top_k"));
    if (temperature) config_.default_temperature = static_cast<float>(*temperature);
    if (top_p) config_.default_top_p = static_cast<float>(*top_p);
    if (top_k) config_.default_top_k = *top_k > 0 ? static_cast<int32_t>(std::min(*top_k, 1e9)) : 0;
    return {};
  }

  const GgufFile& file_;
  std::string prefix_;
  ModelConfig config_;
};

}  // namespace

Result<ModelConfig> gguf_config(const GgufFile& file) {
  TRY(const auto name, file.find_string("general.architecture"));
  if (!name) return missing("general.architecture");
  const auto architecture = find_architecture(*name);
  if (!architecture) {
    return unsupported(fmt::format("architecture {}; llama, qwen2 and qwen3 are computed", quote_name(*name)));
  }
  return ConfigReader(file, *architecture).read();
}

}  // namespace dynamo::model
