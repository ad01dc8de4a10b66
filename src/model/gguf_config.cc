#include "model/gguf_config.h"

#include <algorithm>
#include <cstring>

#include <fmt/format.h>

#include "model/config_fields.h"
#include "model/families/families.h"
#include "model/quote_name.h"
#include "model/weight_table.h"

namespace dynamo::model {
namespace {

constexpr const char* kRopeFactors = "rope_freqs.weight";
constexpr const char* kKeyLength = "attention.key_length";
constexpr const char* kEpsilon = "attention.layer_norm_rms_epsilon";
constexpr const char* kScalingType = "rope.scaling.type";

Result<uint32_t> checked_count(std::string_view key, uint64_t value) {
  if (value > UINT32_MAX)
    return corrupt(fmt::format("metadata {} is {}; expected at most 2^32 - 1", quote_name(key), value));
  return static_cast<uint32_t>(value);
}

Result<std::optional<uint32_t>> count_at(const GgufFile& file, std::string_view key) {
  TRY(const auto value, file.find_unsigned(key));
  if (!value) return std::optional<uint32_t>();
  TRY(const uint32_t count, checked_count(key, *value));
  return std::optional(count);
}

// The metadata behind "ARCHITECTURE.", as families name it.
class GgufFields : public ConfigFields {
 public:
  GgufFields(const GgufFile& file, const Family& family) : file_(file), prefix_(fmt::format("{}.", family.gguf_name)) {}
  Result<std::optional<uint32_t>> find_count(std::string_view key) const override { return count_at(file_, full(key)); }
  Result<std::optional<double>> find_number(std::string_view key) const override {
    return file_.find_number(full(key));
  }
  Result<std::optional<bool>> find_bool(std::string_view key) const override { return file_.find_bool(full(key)); }
  Result<std::optional<std::string>> find_string(std::string_view key) const override {
    TRY(const auto text, file_.find_string(full(key)));
    return text ? std::optional(std::string(*text)) : std::nullopt;
  }
  std::string called(std::string_view key) const override { return fmt::format("metadata '{}'", full(key)); }
  std::string says(std::string_view key, const FieldValue& value) const override {
    return fmt::format("{} is {}", called(key), value_text(value));
  }

 private:
  std::string full(std::string_view key) const { return prefix_ + std::string(key); }

  const GgufFile& file_;
  std::string prefix_;
};

class ConfigReader {
 public:
  ConfigReader(const GgufFile& file, const Family& family) : file_(file), fields_(file, family) {
    config_.family = &family;
  }

  Result<ModelConfig> read() {
    TRY_STATUS(read_shape());
    TRY_STATUS(read_heads());
    TRY_STATUS(read_numbers());
    TRY_STATUS(refuse_others(fields_, config_.family->gguf_rules));
    TRY_STATUS(read_rope_factors());
    TRY_STATUS(read_tokens());
    TRY_STATUS(read_sampling());
    TRY_STATUS(validate(config_));
    return std::move(config_);
  }

 private:
  Status read_shape() {
    TRY(const auto name, file_.find_string("general.name"));
    config_.name = std::string(name.value_or(""));
    TRY_STATUS(read_counts(fields_, &CountField::gguf, &config_));
    const GgufTensor* embedding = file_.find_tensor(gguf_weight_name(config_, {WeightRole::kTokenEmbedding, 0}));
    if (embedding == nullptr) return corrupt("tensor 'token_embd.weight' is missing");
    TRY(config_.vocab_size, checked_count("rows of token_embd.weight", embedding->dims[1]));
    TRY(const auto claimed, fields_.find_count("vocab_size"));
    if (claimed && *claimed != config_.vocab_size) {
      return corrupt(fmt::format("{} is {}, but tensor 'token_embd.weight' has {} rows", fields_.called("vocab_size"),
                                 *claimed, config_.vocab_size));
    }
    config_.has_tied_embedding = file_.find_tensor(gguf_weight_name(config_, {WeightRole::kOutput, 0})) == nullptr;
    return {};
  }

  Status read_heads() {
    TRY(const auto key_length, fields_.find_count(kKeyLength));
    TRY(const auto value_length, fields_.find_count("attention.value_length"));
    if (!key_length && config_.heads > 0 && config_.width % config_.heads != 0) {
      return corrupt(fmt::format("width {} is no multiple of {} heads, and {} is missing", config_.width, config_.heads,
                                 fields_.called(kKeyLength)));
    }
    config_.head_dim = key_length.value_or(config_.heads > 0 ? config_.width / config_.heads : 0);
    if (value_length.value_or(config_.head_dim) != config_.head_dim) {
      return not_computed(fmt::format("keys of {} and values of {} dimensions", config_.head_dim, *value_length),
                          "the same number");
    }
    TRY(const auto rotated, fields_.find_count("rope.dimension_count"));
    if (rotated.value_or(config_.head_dim) == config_.head_dim) return {};
    return not_computed(fmt::format("rotation of {} of {} dimensions", *rotated, config_.head_dim), "of all");
  }

  Status read_numbers() {
    TRY(const auto epsilon, fields_.find_number(kEpsilon));
    if (!epsilon) return corrupt(fields_.called(kEpsilon) + " is missing");
    config_.norm_epsilon = static_cast<float>(*epsilon);
    TRY(const auto base, fields_.find_number("rope.freq_base"));
    config_.rope_base = static_cast<float>(base.value_or(10000.0));
    TRY(const auto scaling, fields_.find_string(kScalingType));
    if (scaling.value_or("none") == "none") return {};
    return not_computed(fmt::format("{}: rope scaling {}", fields_.called(kScalingType), quote_name(*scaling)), "none");
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
    TRY(config_.bos_token_id, count_at(file_, "tokenizer.ggml.bos_token_id"));
    for (const char* key :
         {"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id"}) {
      TRY(const auto id, count_at(file_, key));
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
  GgufFields fields_;
  ModelConfig config_;
};

}  // namespace

Result<ModelConfig> gguf_config(const GgufFile& file) {
  TRY(const auto name, file.find_string("general.architecture"));
  if (!name) return corrupt("metadata 'general.architecture' is missing");
  TRY(const Family* family, find_family(&Family::gguf_name, *name, "architecture"));
  return ConfigReader(file, *family).read();
}

}  // namespace dynamo::model
