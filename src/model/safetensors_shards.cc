#include "model/safetensors_shards.h"

#include <filesystem>

#include <fmt/format.h>

#include "json/node.h"
#include "json/parse.h"
#include "model/hf_cache.h"
#include "model/quote_name.h"

namespace dynamo::model {
namespace {

constexpr const char* kSingle = "/model.safetensors";
constexpr const char* kIndex = "/model.safetensors.index.json";

constexpr size_t kMostShards = 1000;

Status none_found(const std::string& folder) {
  std::error_code ignored;
  for (const char* other : {"pytorch_model.bin", "pytorch_model.bin.index.json"}) {
    if (!std::filesystem::exists(folder + "/" + other, ignored)) continue;
    return not_found(fmt::format("{}: has {}, which is not read, and no model.safetensors", folder, other));
  }
  return not_found(folder + ": has neither model.safetensors nor model.safetensors.index.json");
}

}  // namespace

Result<ShardMap> read_shard_index(std::string_view text) {
  TRY(const json::value index, json::parse_object(text));
  TRY(const json::object* places, json::Node(index)["weight_map"].object());
  ShardMap shards;
  for (const auto& [tensor, shard] : *places) {
    if (!shard.is_string()) return corrupt(fmt::format("weight_map of tensor {} is no string", quote_name(tensor)));
    const std::string name(shard.get_string().data(), shard.get_string().size());
    if (!is_plain_name(name) || !name.ends_with(".safetensors")) {
      return corrupt(fmt::format("weight_map of tensor {} is {}; expected a .safetensors file of the same folder",
                                 quote_name(tensor), quote_name(name)));
    }
    shards[name].emplace_back(tensor.data(), tensor.size());
    if (shards.size() > kMostShards) return corrupt(fmt::format("names more than {} shards", kMostShards));
  }
  if (shards.empty()) return corrupt("field 'weight_map' is empty");
  return shards;
}

bool SafetensorsShards::are_in(const std::string& folder) {
  std::error_code ignored;
  return std::filesystem::exists(folder + kSingle, ignored) || std::filesystem::exists(folder + kIndex, ignored);
}

Result<SafetensorsShards> SafetensorsShards::open(const std::string& folder) {
  SafetensorsShards shards;
  std::error_code ignored;
  const std::string single = folder + kSingle;
  const std::string index = folder + kIndex;
  if (std::filesystem::exists(single, ignored)) {
    TRY_STATUS(shards.add_shard(single, &shards.tensors_));
  } else if (std::filesystem::exists(index, ignored)) {
    TRY_STATUS(shards.add_indexed(folder, index));
  } else {
    return none_found(folder);
  }
  return shards;
}

Status SafetensorsShards::add_shard(const std::string& path, SafetensorsTable* table) {
  TRY(MappedFile file, MappedFile::open(path));
  auto parsed = parse_safetensors(file.bytes());
  if (!parsed.is_ok()) return parsed.status().with(path);
  *table = std::move(parsed).value();
  files_.push_back(std::move(file));
  return {};
}

Status SafetensorsShards::add_indexed(const std::string& folder, const std::string& index_path) {
  TRY(const MappedFile index, MappedFile::open(index_path));
  const auto shards = read_shard_index(index.text());
  if (!shards.is_ok()) return shards.status().with(index_path);
  for (const auto& [name, tensors] : *shards) {
    SafetensorsTable table;
    TRY_STATUS(add_shard(folder + "/" + name, &table));
    for (const std::string& tensor : tensors) {
      auto node = table.extract(tensor);
      if (node.empty())
        return not_found(fmt::format("{}: tensor {}, which {} puts there, is missing", files_.back().path(),
                                     quote_name(tensor), index_path));
      tensors_.insert(std::move(node));
    }
  }
  return {};
}

}  // namespace dynamo::model
