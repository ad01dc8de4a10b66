// The JSON files of a Hugging Face folder: whatever is in them, reading ends in a valid config or a Status.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "model/hf_config.h"
#include "model/safetensors_shards.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace dynamo::model;
  const std::string_view json(reinterpret_cast<const char*>(data), size);
  const auto config = hf_config(json);
  if (config.is_ok()) CHECK(validate(*config).is_ok());
  ModelConfig other;
  other.vocab_size = 1000;
  static_cast<void>(apply_generation_config(json, &other).is_ok());
  static_cast<void>(hf_tokenizer_config(json).is_ok());
  static_cast<void>(read_shard_index(json).is_ok());
  return 0;
}
