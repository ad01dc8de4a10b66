// The JSON files of a Hugging Face folder: whatever is in them, reading ends in a valid config or a Status.
// The bytes are used as the file, and as a choice of fields and values over a good config, since bytes alone hardly
// ever are JSON.
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <string>
#include <string_view>

#include "base/check.h"
#include "model/hf_config.h"
#include "model/safetensors_shards.h"

namespace dynamo::model {
namespace {

constexpr const char* kKeys[] = {"model_type",
                                 "architectures",
                                 "hidden_size",
                                 "num_hidden_layers",
                                 "num_attention_heads",
                                 "head_dim",
                                 "num_key_value_heads",
                                 "intermediate_size",
                                 "vocab_size",
                                 "max_position_embeddings",
                                 "rms_norm_eps",
                                 "rope_theta",
                                 "rope_scaling",
                                 "rope_parameters",
                                 "tie_word_embeddings",
                                 "attention_bias",
                                 "quantization_config",
                                 "layer_types",
                                 "hidden_act",
                                 "use_sliding_window",
                                 "eos_token_id",
                                 "bos_token_id",
                                 "temperature",
                                 "top_p",
                                 "top_k",
                                 "do_sample",
                                 "chat_template",
                                 "bos_token",
                                 "eos_token",
                                 "add_bos_token",
                                 "weight_map",
                                 "added_tokens_decoder",
                                 "_name_or_path",
                                 "mlp_bias"};
constexpr const char* kValues[] = {"0",
                                   "1",
                                   "2",
                                   "64",
                                   "-1",
                                   "4294967295",
                                   "4294967296",
                                   "18446744073709551615",
                                   "1e308",
                                   "1e-9",
                                   "0.5",
                                   "true",
                                   "false",
                                   "null",
                                   "\"\"",
                                   "\"qwen3\"",
                                   "\"llama\"",
                                   "\"silu\"",
                                   "[]",
                                   "[1,2,300]",
                                   "[[]]",
                                   "[\"full_attention\"]",
                                   "{}",
                                   "{\"content\":\"</s>\"}",
                                   "{\"5\":{\"content\":\"\"},\"x\":{\"content\":\"\"}}",
                                   "{\"t\":\"a.safetensors\"}",
                                   "{\"t\":\"../a.safetensors\"}",
                                   "[{\"name\":\"default\",\"template\":\"T\"}]",
                                   ("{\"rope_type\":\"llama3\",\"rope_theta\":1e6,\"factor\":8,\"low_freq_factor\":1,"
                                    "\"high_freq_factor\":4}"),
                                   "{\"type\":\"yarn\"}",
                                   "{\"quant_method\":7}"};

// A good config.json, and after it, so that they count instead, the fields that the bytes choose.
std::string chosen_fields(const uint8_t* data, size_t size) {
  std::string json =
      R"({"model_type":"llama","hidden_size":64,"num_hidden_layers":2,"num_attention_heads":4,"intermediate_size":96,)"
      R"("vocab_size":300,"max_position_embeddings":512)";
  for (size_t i = 0; i + 1 < size && i < 64; i += 2) {
    json += ",\"" + std::string(kKeys[data[i] % std::size(kKeys)]) + "\":" + kValues[data[i + 1] % std::size(kValues)];
  }
  return json + "}";
}

void read_all(std::string_view json) {
  const auto config = hf_config(json);
  if (config.is_ok()) CHECK(validate(*config).is_ok());
  ModelConfig other;
  static_cast<void>(apply_generation_config(json, &other).is_ok());
  static_cast<void>(hf_tokenizer_config(json).is_ok());
  const auto shards = read_shard_index(json);
  if (!shards.is_ok()) return;
  for (const auto& [name, tensors] : *shards) CHECK(name.find('/') == std::string::npos);
}

}  // namespace
}  // namespace dynamo::model

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  dynamo::model::read_all({reinterpret_cast<const char*>(data), size});
  dynamo::model::read_all(dynamo::model::chosen_fields(data, size));
  return 0;
}
