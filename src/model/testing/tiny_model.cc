#include "model/testing/tiny_model.h"

#include <bit>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>

#include <fmt/format.h>

#include "base/check.h"

namespace dynamo::model::testing {
namespace {

uint64_t hash_name(std::string_view name) {
  uint64_t hash = 0xcbf29ce484222325;
  for (const char letter : name) hash = (hash ^ static_cast<unsigned char>(letter)) * 0x100000001b3;
  return hash;
}

uint64_t splitmix64(uint64_t seed, uint64_t index) {
  uint64_t z = seed + (index + 1) * 0x9e3779b97f4a7c15;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  return z ^ (z >> 31);
}

}  // namespace

const std::string_view kTinyChatTemplate =
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + "
    "'\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";

ModelConfig tiny_config(const TinyModelSpec& spec) {
  ModelConfig config;
  config.family = spec.family;
  config.layers = spec.layers;
  config.width = spec.width;
  config.heads = spec.heads;
  config.kv_heads = spec.kv_heads;
  config.head_dim = spec.head_dim;
  config.ffn_width = spec.ffn_width;
  config.vocab_size = spec.vocab_size;
  config.context_length = spec.context_length;
  config.norm_epsilon = 1e-5F;
  config.rope_base = spec.rope_base;
  config.rope_scaling = spec.rope_scaling;
  config.has_tied_embedding = spec.has_tied_embedding;
  config.bos_token_id = 256;
  config.named_ends = {{258, ""}};
  return config;
}

std::vector<TokenId> named_ids(const ModelConfig& config) {
  std::vector<TokenId> ids;
  for (const NamedEnd& end : config.named_ends) ids.push_back(end.id);
  return ids;
}

float tiny_weight(std::string_view tensor_name, uint64_t columns, uint64_t index) {
  const auto step = static_cast<int32_t>(splitmix64(hash_name(tensor_name), index) >> 48) - 32768;
  const float unit = static_cast<float>(step) * 0x1p-15F;
  if (tensor_name.ends_with("norm.weight")) return 1.0F + unit * 0.25F;
  if (tensor_name.ends_with(".bias")) return unit * 0.25F;
  const int log2_columns = static_cast<int>(std::bit_width(columns)) - 1;
  return unit / static_cast<float>(1U << (log2_columns / 2));
}

Status write_file(const std::string& path, std::string_view bytes) {
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  file.close();
  if (!file) return internal("cannot write " + path);
  return {};
}

TemporaryFolder::TemporaryFolder() {
  std::error_code error;
  path_ = (std::filesystem::temp_directory_path(error) / "dynamo-test-XXXXXX").string();
  CHECK(!error && mkdtemp(path_.data()) != nullptr);
}

TemporaryFolder::~TemporaryFolder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

}  // namespace dynamo::model::testing
