#include "model/hf_folder.h"

#include <algorithm>
#include <filesystem>
#include <optional>
#include <set>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "model/hf_cache.h"
#include "model/hf_config.h"
#include "model/mapped_file.h"
#include "model/quote_name.h"
#include "model/safetensors_shards.h"
#include "model/stored_types.h"
#include "model/tokenizer_check.h"
#include "model/weight_table.h"
#include "text/tokenizer_json.h"

namespace dynamo::model {
namespace {

// Nothing if the folder has no such file.
Result<std::optional<MappedFile>> open_if_there(const std::string& path) {
  std::error_code ignored;
  if (!std::filesystem::exists(path, ignored)) return std::optional<MappedFile>();
  TRY(MappedFile file, MappedFile::open(path));
  return std::optional(std::move(file));
}

// "models--org--name/snapshots/REVISION" is called "org/name", any other folder by its own name.
std::string name_of(const std::string& folder) {
  constexpr std::string_view kCachePrefix = "models--";
  auto path = std::filesystem::path(folder).lexically_normal();
  if (!path.has_filename()) path = path.parent_path();
  std::string name = path.filename().string();
  if (path.parent_path().filename() != "snapshots") return name;
  const std::string cached = path.parent_path().parent_path().filename().string();
  if (!cached.starts_with(kCachePrefix)) return name;
  const size_t dashes = cached.find("--", kCachePrefix.size());
  if (dashes == std::string::npos) return cached.substr(kCachePrefix.size());
  return fmt::format("{}/{}", cached.substr(kCachePrefix.size(), dashes - kCachePrefix.size()),
                     cached.substr(dashes + 2));
}

// Weights that transformers leaves unused as well.
bool is_ignored(std::string_view tensor, const ModelConfig& config) {
  const bool is_tied_twin = config.has_tied_embedding && tensor == hf_weight_name(config, {WeightRole::kOutput, 0});
  return is_tied_twin || tensor.ends_with("rotary_emb.inv_freq");
}

class HfFolder : public ModelSource {
 public:
  HfFolder(std::string folder, ModelConfig config, HfTokenizerConfig tokenizer_config, SafetensorsShards shards)
      : folder_(std::move(folder)),
        config_(std::move(config)),
        tokenizer_config_(std::move(tokenizer_config)),
        shards_(std::move(shards)) {
    const size_t count = shards_.files().size();
    stored_.format = count == 1 ? "safetensors" : fmt::format("safetensors, {} shards", count);
    for (const MappedFile& mapped : shards_.files()) stored_.files.push_back({mapped.path(), mapped.bytes().size()});
    for (const auto& [name, tensor] : shards_.tensors()) {
      if (!is_ignored(name, config_)) count_tensor(tensor.type, tensor.data.size(), &stored_.types);
    }
    sort_by_bytes(&stored_.types);
  }

  const ModelConfig& config() const override { return config_; }
  const std::string& chat_template() const override { return tokenizer_config_.chat_template; }
  const StoredModel& stored() const override { return stored_; }

  Result<kernels::MatrixSource> weight(WeightRole role, uint32_t layer) const override {
    const std::string name = hf_weight_name(config_, {role, layer});
    const auto found = shards_.tensors().find(name);
    if (found == shards_.tensors().end()) return not_found(fmt::format("tensor '{}' is missing", name));
    const SafetensorsTensor& tensor = found->second;
    const WeightShape shape = weight_shape(config_, role);
    const std::vector<uint64_t> expected =
        is_vector(config_, role) ? std::vector{shape.columns} : std::vector{shape.rows, shape.columns};
    if (tensor.shape != expected) {
      return corrupt(fmt::format("tensor '{}' has shape [{}]; expected [{}]", name, fmt::join(tensor.shape, ", "),
                                 fmt::join(expected, ", ")));
    }
    if (!tensor.dtype) {
      return unsupported(fmt::format("tensor '{}' is of type {}; F32, F16 and BF16 are computed", name, tensor.type));
    }
    return kernels::MatrixSource{*tensor.dtype, shape.rows, shape.columns, tensor.data.data()};
  }

  Result<text::TokenizerSpec> tokenizer() const override {
    const std::string path = folder_ + "/tokenizer.json";
    TRY(const MappedFile file, MappedFile::open(path));
    auto spec = text::tokenizer_spec_from_json(file.text());
    Status status = spec.is_ok() ? add_bos(&*spec) : spec.status();
    if (status.is_ok()) status = check_tokenizer(*spec, config_);
    if (!status.is_ok()) return status.with(path);
    return spec;
  }

  // That every weight is there, of the right shape and type, and none is there that would be left out.
  Status check_weights() const {
    std::set<std::string> used;
    for (const WeightSlot slot : weight_slots(config_)) {
      TRY_STATUS(weight(slot.role, slot.layer));
      used.insert(hf_weight_name(config_, slot));
    }
    for (const auto& [name, tensor] : shards_.tensors()) {
      if (used.contains(name) || is_ignored(name, config_)) continue;
      return unsupported(fmt::format("tensor {} has no place in a {} model of {} layers", quote_name(name),
                                     config_.family->name, config_.layers));
    }
    return {};
  }

 private:
  // Where tokenizer_config.json asks for it and tokenizer.json does not do it already.
  Status add_bos(text::TokenizerSpec* spec) const {
    if (!tokenizer_config_.adds_bos || !spec->prefix_ids.empty()) return {};
    std::optional<TokenId> id = config_.bos_token_id;
    for (const text::AddedToken& token : spec->added) {
      if (token.content == tokenizer_config_.bos_token) id = token.id;
    }
    if (!id) return corrupt("tokenizer_config.json asks for a bos token in front, but none is named");
    spec->prefix_ids.push_back(*id);
    return {};
  }

  std::string folder_;
  ModelConfig config_;
  HfTokenizerConfig tokenizer_config_;
  SafetensorsShards shards_;
  StoredModel stored_;
};

Result<ModelConfig> read_config(const std::string& folder) {
  TRY(const MappedFile file, MappedFile::open(folder + "/config.json"));
  auto config = hf_config(file.text());
  if (!config.is_ok()) return config.status().with(file.path());
  TRY(const auto generation, open_if_there(folder + "/generation_config.json"));
  if (generation) {
    const Status status = apply_generation_config(generation->text(), &*config);
    if (!status.is_ok()) return status.with(generation->path());
  }
  return config;
}

Result<HfTokenizerConfig> read_tokenizer_config(const std::string& folder) {
  HfTokenizerConfig config;
  TRY(const auto file, open_if_there(folder + "/tokenizer_config.json"));
  if (file) {
    auto parsed = hf_tokenizer_config(file->text());
    if (!parsed.is_ok()) return parsed.status().with(file->path());
    config = std::move(parsed).value();
  }
  TRY(const auto chat_template, open_if_there(folder + "/chat_template.jinja"));
  if (chat_template) config.chat_template = std::string(chat_template->text());
  return config;
}

// What the tokenizer's own settings add to the model's: its eos ends an answer too.
Status merge(const HfTokenizerConfig& tokenizer, ModelConfig* config) {
  config->bos_token = tokenizer.bos_token;
  config->eos_token = tokenizer.eos_token;
  if (!config->bos_token_id) config->bos_token_id = tokenizer.bos_token_id;
  if (tokenizer.eos_token_id) config->named_ends.push_back({*tokenizer.eos_token_id, kTokenizerEos});
  return validate(*config);
}

}  // namespace

Result<std::unique_ptr<ModelSource>> open_hf_folder(const std::string& path, Weights weights) {
  TRY(const std::string folder, find_model_folder(path));
  TRY(ModelConfig config, read_config(folder));
  TRY(HfTokenizerConfig tokenizer_config, read_tokenizer_config(folder));
  const Status merged = merge(tokenizer_config, &config);
  if (!merged.is_ok()) return merged.with(folder + "/tokenizer_config.json");
  if (config.name.empty()) config.name = name_of(folder);
  SafetensorsShards shards;
  const bool has_weights = weights == Weights::kNeeded || SafetensorsShards::are_in(folder);
  if (has_weights) {
    TRY(shards, SafetensorsShards::open(folder));
  }
  auto model = std::make_unique<HfFolder>(folder, std::move(config), std::move(tokenizer_config), std::move(shards));
  const Status checked = has_weights ? model->check_weights() : Status();
  if (!checked.is_ok()) return checked.with(folder);
  return std::unique_ptr<ModelSource>(std::move(model));
}

}  // namespace dynamo::model
