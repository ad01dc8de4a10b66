// The safetensors files of a folder as one table of tensors.
// Threads: immutable after open; any thread.  Private to the module.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "model/mapped_file.h"
#include "model/safetensors.h"

namespace dynamo::model {

// Shard -> names of its tensors.
using ShardMap = std::map<std::string, std::vector<std::string>>;
// model.safetensors.index.json. Errors: kCorrupt (a shard that is no .safetensors file of the same folder; too many).
Result<ShardMap> read_shard_index(std::string_view json);

class SafetensorsShards {
 public:
  // Whether open() would find a file to begin with.
  static bool are_in(const std::string& folder);
  // model.safetensors, or else the files that model.safetensors.index.json names, which must lie in the same folder.
  // Errors: kNotFound (neither; a shard missing), kCorrupt, kUnsupported; with file and tensor.
  static Result<SafetensorsShards> open(const std::string& folder);

  const SafetensorsTable& tensors() const { return tensors_; }
  const std::vector<MappedFile>& files() const { return files_; }

 private:
  Status add_shard(const std::string& path, SafetensorsTable* table);
  Status add_indexed(const std::string& folder, const std::string& index_path);

  std::vector<MappedFile> files_;
  SafetensorsTable tensors_;  // views into the files
};

}  // namespace dynamo::model
