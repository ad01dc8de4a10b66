#include "model/hf_config.h"

#include <algorithm>

#include <fmt/format.h>

#include "json/node.h"
#include "json/parse.h"
#include "model/config_fields.h"
#include "model/families/families.h"
#include "model/quote_name.h"

namespace dynamo::model {
namespace {

constexpr std::string_view kCausalSuffix = "ForCausalLM";
constexpr std::string_view kFullAttention = "full_attention";
constexpr std::string_view kRopeTypes[] = {"default", "llama3"};
constexpr Rule kRopeRules[] = {{"partial_rotary_factor", 1.0}};
constexpr std::string_view kComputedTypes[] = {"F32", "F16", "BF16"};

std::string string_text(const json::value& value) {
  return value.is_string() ? quote_name(value.get_string()) : "no string";
}

// config.json's fields as families name them.
class HfFields : public ConfigFields {
 public:
  explicit HfFields(const json::Node& fields) : fields_(fields) {}
  Result<std::optional<uint32_t>> find_count(std::string_view key) const override { return fields_[key].find_count(); }
  Result<std::optional<double>> find_number(std::string_view key) const override { return fields_[key].find_number(); }
  Result<std::optional<bool>> find_bool(std::string_view key) const override { return fields_[key].find_bool(); }
  Result<std::optional<std::string>> find_string(std::string_view key) const override {
    TRY(const auto text, fields_[key].find_string());
    return text ? std::optional(std::string(*text)) : std::nullopt;
  }
  std::string called(std::string_view key) const override { return fmt::format("field {}", quote_name(key)); }
  std::string says(std::string_view key, const FieldValue& value) const override {
    if (std::holds_alternative<bool>(value)) return fmt::format("{} is {}", called(key), value_text(value));
    return fmt::format("{} {}", key, value_text(value));
  }

 private:
  const json::Node& fields_;
};

Result<const Family*> read_family(const json::Node& fields) {
  TRY(const auto name, fields["model_type"].find_string());
  if (!name) return corrupt("field 'model_type' is missing");
  TRY(const Family* family, find_family(&Family::name, *name, "model_type"));
  const json::value* classes = fields["architectures"].value();
  if (classes != nullptr && classes->is_array() && !classes->get_array().empty()) {
    const json::value& first = classes->get_array().front();
    if (!first.is_string() || !std::string_view(first.get_string()).ends_with(kCausalSuffix)) {
      return not_computed("architectures[0] is " + string_text(first), fmt::format("a ...{}", kCausalSuffix));
    }
  }
  return family;
}

// What no family computes with.
Status refuse_features(const json::Node& fields) {
  if (const json::Node quantization = fields["quantization_config"]; !quantization.is_absent()) {
    const auto method = quantization["quant_method"].string();
    return not_computed("weights quantised by " + quote_name(method.is_ok() ? *method : "?"), kComputedTypes);
  }
  const json::value* layer_types = fields["layer_types"].value();
  if (layer_types == nullptr || !layer_types->is_array()) return {};
  for (const json::value& type : layer_types->get_array()) {
    if (type.is_string() && type.get_string() == kFullAttention) continue;
    return not_computed("layer_types holds " + string_text(type), kFullAttention);
  }
  return {};
}

Status read_head_dim(const json::Node& fields, ModelConfig* config) {
  TRY(const auto head_dim, fields["head_dim"].find_count());
  config->head_dim = head_dim.value_or(config->family->hf_defaults.head_dim);
  if (head_dim || config->head_dim > 0) return {};
  if (config->heads == 0 || config->width % config->heads != 0) {
    return corrupt(fmt::format("hidden_size {} is no multiple of num_attention_heads {}, and head_dim is missing",
                               config->width, config->heads));
  }
  config->head_dim = config->width / config->heads;
  return {};
}

Status read_shape(const json::Node& fields, ModelConfig* config) {
  const HfDefaults& defaults = config->family->hf_defaults;
  TRY_STATUS(read_counts(HfFields(fields), &CountField::hf, config));
  TRY_STATUS(read_head_dim(fields, config));
  TRY(const auto epsilon, fields["rms_norm_eps"].find_number());
  config->norm_epsilon = static_cast<float>(epsilon.value_or(defaults.norm_epsilon));
  TRY(config->has_tied_embedding, fields["tie_word_embeddings"].flag(defaults.has_tied_embedding));
  return {};
}

Result<float> scaling_number(const json::Node& fields, const char* key) {
  TRY(const auto value, fields[key].find_number());
  if (!value) return corrupt(fmt::format("field '{}' of the llama3 rope scaling is missing", key));
  return static_cast<float>(*value);
}

// `rope` is rope_scaling of version 4, or rope_parameters of version 5, which holds rope_theta too.
Status read_rope_object(const json::Node& rope, ModelConfig* config) {
  TRY(const auto base, rope["rope_theta"].find_number());
  if (base) config->rope_base = static_cast<float>(*base);
  TRY_STATUS(refuse_others(HfFields(rope), kRopeRules));
  TRY(auto type, rope["rope_type"].find_string());
  if (!type) {
    TRY(type, rope["type"].find_string());
  }
  if (type.value_or("default") == "default") {
    if (!type && !base) return unsupported("a rope scaling without a rope_type");
    return {};
  }
  if (*type != "llama3") return not_computed("rope_type " + quote_name(*type), kRopeTypes);
  RopeScaling scaling;
  TRY(scaling.factor, scaling_number(rope, "factor"));
  TRY(scaling.low_frequency_factor, scaling_number(rope, "low_freq_factor"));
  TRY(scaling.high_frequency_factor, scaling_number(rope, "high_freq_factor"));
  TRY(const auto original, rope["original_max_position_embeddings"].find_count());
  scaling.original_context = original.value_or(config->context_length);
  config->rope_scaling = scaling;
  return {};
}

Status read_rope(const json::Node& fields, ModelConfig* config) {
  TRY(const auto base, fields["rope_theta"].find_number());
  config->rope_base = static_cast<float>(base.value_or(config->family->hf_defaults.rope_base));
  for (const char* key : {"rope_scaling", "rope_parameters"}) {
    if (fields[key].is_absent()) continue;
    TRY(const json::object* rope, fields[key].object());
    if (rope->empty()) continue;
    const Status status = read_rope_object(json::Node(*fields[key].value()), config);
    if (!status.is_ok()) return status.with(key);
  }
  return {};
}

// One id or a list of them. Returns: nothing if absent.
Result<std::vector<TokenId>> read_ids(const json::Node& fields, const char* key) {
  std::vector<TokenId> ids;
  const json::Node node = fields[key];
  if (node.is_absent()) return ids;
  if (!node.value()->is_array()) {
    TRY(const uint32_t id, node.count());
    ids.push_back(id);
    return ids;
  }
  const json::array& list = node.value()->get_array();
  constexpr size_t kMost = 1000;
  if (list.size() > kMost) return corrupt(fmt::format("field '{}' has more than {} entries", key, kMost));
  for (size_t i = 0; i < list.size(); ++i) {
    TRY(const uint32_t id, node.at(list, i).count());
    if (std::find(ids.begin(), ids.end(), id) == ids.end()) ids.push_back(id);
  }
  return ids;
}

Status read_special_tokens(const json::Node& fields, const char* file, ModelConfig* config) {
  TRY(const auto eos, read_ids(fields, "eos_token_id"));
  if (!eos.empty()) config->named_ends.clear();
  for (const TokenId id : eos) config->named_ends.push_back({id, fmt::format("{}: eos_token_id", file)});
  TRY(const auto bos, read_ids(fields, "bos_token_id"));
  if (!bos.empty()) config->bos_token_id = bos.front();
  return {};
}

}  // namespace

Result<ModelConfig> hf_config(std::string_view text) {
  TRY(const json::value document, json::parse_object(text));
  const json::Node fields(document);
  ModelConfig config;
  TRY(config.family, read_family(fields));
  TRY_STATUS(refuse_others(HfFields(fields), config.family->hf_rules));
  TRY_STATUS(refuse_features(fields));
  TRY_STATUS(read_shape(fields, &config));
  TRY_STATUS(read_rope(fields, &config));
  TRY_STATUS(read_special_tokens(fields, "config.json", &config));
  TRY(const auto name, fields["_name_or_path"].find_string());
  config.name = name.value_or("");
  TRY_STATUS(validate(config));
  return config;
}

Status apply_generation_config(std::string_view text, ModelConfig* config) {
  TRY(const json::value document, json::parse_object(text));
  const json::Node fields(document);
  TRY_STATUS(read_special_tokens(fields, "generation_config.json", config));
  TRY(const bool is_sampled, fields["do_sample"].flag(true));
  TRY(const auto temperature, fields["temperature"].find_number());
  TRY(const auto top_p, fields["top_p"].find_number());
  TRY(const auto top_k, fields["top_k"].find_integer(-1, UINT32_MAX));  // -1 and 0: all tokens
  if (!is_sampled) {
    config->default_temperature = 0.0F;  // greedy; the other fields have no meaning then
    return validate(*config);
  }
  if (temperature) config->default_temperature = static_cast<float>(*temperature);
  if (top_p) config->default_top_p = static_cast<float>(*top_p);
  if (top_k) config->default_top_k = static_cast<int32_t>(std::clamp<int64_t>(*top_k, 0, INT32_MAX));
  return validate(*config);
}

}  // namespace dynamo::model
