#include <cctype>
#include <filesystem>

#include <fmt/format.h>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>

#include "base/check.h"
#include "model/testing/safetensors_writer.h"
#include "model/testing/tensor_bytes.h"
#include "model/testing/tiny_tensors.h"

namespace dynamo::model::testing {
namespace {

namespace json = boost::json;
using kernels::DType;

const char* torch_name(DType dtype) {
  return dtype == DType::kF32 ? "float32" : dtype == DType::kF16 ? "float16" : "bfloat16";
}

std::string config_json(const TinyModelSpec& spec) {
  const ModelConfig config = tiny_config(spec);
  std::string class_name = fmt::format("{}ForCausalLM", spec.family->name);
  class_name[0] = static_cast<char>(std::toupper(class_name[0]));
  json::object out = {{"architectures", json::array{class_name}},
                      {"model_type", spec.family->name},
                      {"num_hidden_layers", spec.layers},
                      {"hidden_size", spec.width},
                      {"num_attention_heads", spec.heads},
                      {"num_key_value_heads", spec.kv_heads},
                      {"head_dim", spec.head_dim},
                      {"intermediate_size", spec.ffn_width},
                      {"vocab_size", spec.vocab_size},
                      {"max_position_embeddings", spec.context_length},
                      {"rms_norm_eps", 1e-5},
                      {"rope_theta", spec.rope_base},
                      {"tie_word_embeddings", spec.has_tied_embedding},
                      {"hidden_act", "silu"},
                      {"bos_token_id", *config.bos_token_id},
                      {"eos_token_id", config.named_ends.front().id},
                      {"torch_dtype", torch_name(spec.dtype)}};
  if (spec.rope_scaling) {
    out["rope_scaling"] = {{"rope_type", "llama3"},
                           {"factor", spec.rope_scaling->factor},
                           {"low_freq_factor", spec.rope_scaling->low_frequency_factor},
                           {"high_freq_factor", spec.rope_scaling->high_frequency_factor},
                           {"original_max_position_embeddings", spec.rope_scaling->original_context}};
  }
  return json::serialize(out);
}

std::string tokenizer_json(const TinyModelSpec& spec) {
  const std::vector<std::string> vocabulary = tiny_vocabulary(spec);
  json::object vocab;
  json::array added;
  for (size_t id = 0; id < vocabulary.size(); ++id) {
    vocab[vocabulary[id]] = id;
    if (id < kTinyFirstSpecial) continue;
    added.push_back({{"id", id},
                     {"content", vocabulary[id]},
                     {"single_word", false},
                     {"lstrip", false},
                     {"rstrip", false},
                     {"normalized", false},
                     {"special", true}});
  }
  const json::object byte_level = {
      {"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}, {"use_regex", true}};
  const json::object model = {{"type", "BPE"},
                              {"dropout", nullptr},
                              {"unk_token", nullptr},
                              {"continuing_subword_prefix", nullptr},
                              {"end_of_word_suffix", nullptr},
                              {"fuse_unk", false},
                              {"byte_fallback", false},
                              {"ignore_merges", false},
                              {"vocab", vocab},
                              {"merges", json::array{}}};
  return json::serialize(json::object{{"version", "1.0"},
                                      {"truncation", nullptr},
                                      {"padding", nullptr},
                                      {"added_tokens", added},
                                      {"normalizer", nullptr},
                                      {"pre_tokenizer", byte_level},
                                      {"post_processor", nullptr},
                                      {"decoder", byte_level},
                                      {"model", model}});
}

std::string tokenizer_config_json() {
  return json::serialize(json::object{{"tokenizer_class", "PreTrainedTokenizerFast"},
                                      {"add_bos_token", false},
                                      {"bos_token", "<|endoftext|>"},
                                      {"eos_token", "<|im_end|>"},
                                      {"pad_token", "<|endoftext|>"}});
}

std::string shard_name(uint32_t shard, uint32_t shards) {
  return shards == 1 ? "model.safetensors" : fmt::format("model-{:05}-of-{:05}.safetensors", shard + 1, shards);
}

Status write_weights(const TinyModelSpec& spec, const std::string& dir) {
  CHECK(kernels::block_elements(spec.dtype) == 1 && spec.shards > 0);
  const ModelConfig config = tiny_config(spec);
  std::vector<SafetensorsWriter> shards(spec.shards);
  json::object places;
  size_t count = 0;
  for (const WeightSlot slot : weight_slots(config)) {
    const WeightShape shape = weight_shape(config, slot.role);
    const auto dims = is_vector(config, slot.role) ? std::vector<uint64_t>{shape.columns}
                                                   : std::vector<uint64_t>{shape.rows, shape.columns};
    const uint32_t shard = count++ % spec.shards;
    const std::string name = hf_weight_name(config, slot);
    shards[shard].add(name, kernels::dtype_name(spec.dtype), dims, tensor_bytes(tiny_tensor(config, slot), spec.dtype));
    places[name] = shard_name(shard, spec.shards);
  }
  for (uint32_t shard = 0; shard < spec.shards; ++shard) {
    TRY_STATUS(write_file(dir + "/" + shard_name(shard, spec.shards), shards[shard].finish()));
  }
  if (spec.shards == 1) return {};
  return write_file(dir + "/model.safetensors.index.json",
                    json::serialize(json::object{{"metadata", json::object{}}, {"weight_map", places}}));
}

}  // namespace

Status write_tiny_hf_folder(const TinyModelSpec& spec, const std::string& dir) {
  std::error_code error;
  std::filesystem::create_directory(dir, error);
  if (error) return internal("cannot make " + dir + ": " + error.message());
  const ModelConfig config = tiny_config(spec);
  const json::object generation = {{"bos_token_id", *config.bos_token_id},
                                   {"eos_token_id", config.named_ends.front().id}};
  TRY_STATUS(write_file(dir + "/config.json", config_json(spec)));
  TRY_STATUS(write_file(dir + "/generation_config.json", json::serialize(generation)));
  TRY_STATUS(write_file(dir + "/tokenizer.json", tokenizer_json(spec)));
  TRY_STATUS(write_file(dir + "/tokenizer_config.json", tokenizer_config_json()));
  TRY_STATUS(write_file(dir + "/chat_template.jinja", kTinyChatTemplate));
  return write_weights(spec, dir);
}

}  // namespace dynamo::model::testing
