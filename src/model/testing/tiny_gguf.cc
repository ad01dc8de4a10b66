#include <algorithm>
#include <cmath>
#include <numbers>

#include <fmt/format.h>

#include "model/testing/gguf_writer.h"
#include "model/testing/tensor_bytes.h"
#include "model/testing/tiny_tensors.h"

namespace dynamo::model::testing {
namespace {

constexpr int32_t kNormalToken = 1;
constexpr int32_t kControlToken = 3;

// Each head's rows (first half, second half) become pairs (first[0], second[0], first[1], ...), as llama's converters
// store them.
std::vector<float> interleave_heads(const std::vector<float>& values, size_t head_dim, size_t columns) {
  std::vector<float> out(values.size());
  const size_t half = head_dim / 2;
  for (size_t row = 0; row < values.size() / columns; ++row) {
    const size_t in_head = row % head_dim;
    const size_t target = row - in_head + in_head % half * 2 + in_head / half;
    std::copy_n(values.begin() + static_cast<ptrdiff_t>(row * columns), columns,
                out.begin() + static_cast<ptrdiff_t>(target * columns));
  }
  return out;
}

// What the frequency of each pair is divided by.  Source: Hugging Face rope_type "llama3".
std::vector<float> rope_factors(const TinyModelSpec& spec) {
  const RopeScaling& scaling = *spec.rope_scaling;
  std::vector<float> factors(spec.head_dim / 2);
  for (size_t i = 0; i < factors.size(); ++i) {
    const double frequency = std::pow(spec.rope_base, -2.0 * static_cast<double>(i) / spec.head_dim);
    const double turns = scaling.original_context * frequency / (2 * std::numbers::pi);
    const double smooth = (turns - scaling.low_frequency_factor) /
                          static_cast<double>(scaling.high_frequency_factor - scaling.low_frequency_factor);
    const double kept = std::clamp(smooth, 0.0, 1.0);
    factors[i] = static_cast<float>(1 / ((1 - kept) / scaling.factor + kept));
  }
  return factors;
}

void add_metadata(const TinyModelSpec& spec, GgufWriter* file) {
  const ModelConfig config = tiny_config(spec);
  const std::string prefix = spec.family->gguf_name;
  const auto key = [&](const char* name) { return prefix + "." + name; };
  file->add_string("general.architecture", prefix);
  file->add_string("general.name", "tiny " + prefix);
  file->add_u32(key("block_count"), spec.layers);
  file->add_u32(key("context_length"), spec.context_length);
  file->add_u32(key("embedding_length"), spec.width);
  file->add_u32(key("feed_forward_length"), spec.ffn_width);
  file->add_u32(key("attention.head_count"), spec.heads);
  file->add_u32(key("attention.head_count_kv"), spec.kv_heads);
  file->add_u32(key("attention.key_length"), spec.head_dim);
  file->add_u32(key("attention.value_length"), spec.head_dim);
  file->add_f32(key("attention.layer_norm_rms_epsilon"), config.norm_epsilon);
  file->add_f32(key("rope.freq_base"), spec.rope_base);
  file->add_u32(key("rope.dimension_count"), spec.head_dim);

  const std::vector<std::string> vocabulary = tiny_vocabulary(spec);
  std::vector<int32_t> types(vocabulary.size(), kControlToken);
  std::fill_n(types.begin(), kTinyFirstSpecial, kNormalToken);
  file->add_string("tokenizer.ggml.model", "gpt2");
  file->add_string("tokenizer.ggml.pre", "gpt-2");
  file->add_strings("tokenizer.ggml.tokens", vocabulary);
  file->add_i32s("tokenizer.ggml.token_type", types);
  file->add_strings("tokenizer.ggml.merges", {});
  file->add_u32("tokenizer.ggml.bos_token_id", *config.bos_token_id);
  file->add_u32("tokenizer.ggml.eos_token_id", config.named_ends.front().id);
  file->add_bool("tokenizer.ggml.add_bos_token", false);
  file->add_string("tokenizer.chat_template", kTinyChatTemplate);
}

void add_weight(const TinyModelSpec& spec, const ModelConfig& config, WeightSlot slot, GgufWriter* file) {
  const WeightShape shape = weight_shape(config, slot.role);
  std::vector<float> values = tiny_tensor(config, slot);
  if (spec.family->gguf_qk_rows == RowOrder::kPairs && (slot.role == WeightRole::kQ || slot.role == WeightRole::kK)) {
    values = interleave_heads(values, spec.head_dim, shape.columns);
  }
  const auto dtype = is_vector(config, slot.role) ? kernels::DType::kF32 : spec.dtype;
  std::vector<uint64_t> dims = {shape.columns};
  if (!is_vector(config, slot.role)) dims.push_back(shape.rows);
  file->add_tensor(gguf_weight_name(config, slot), dims, gguf_type(dtype), tensor_bytes(values, dtype));
}

}  // namespace

std::string tiny_gguf(const TinyModelSpec& spec) {
  return tiny_gguf_parts(spec, 1).front();
}

std::vector<std::string> tiny_gguf_parts(const TinyModelSpec& spec, uint32_t parts, bool has_empty_first) {
  std::vector<GgufWriter> files(parts);
  add_metadata(spec, &files.front());
  const ModelConfig config = tiny_config(spec);
  const uint32_t first = has_empty_first ? 1 : 0;
  uint32_t tensors = 0;
  const auto next_file = [&] { return &files[first + tensors++ % (parts - first)]; };
  for (const WeightSlot slot : weight_slots(config)) add_weight(spec, config, slot, next_file());
  if (spec.rope_scaling) {
    const std::vector<float> factors = rope_factors(spec);
    next_file()->add_tensor("rope_freqs.weight", {factors.size()}, gguf_type(kernels::DType::kF32),
                            tensor_bytes(factors, kernels::DType::kF32));
  }
  std::vector<std::string> bytes;
  for (GgufWriter& file : files) {
    if (parts > 1) {
      file.add_integer("split.no", GgufValueType::kU16, static_cast<int64_t>(bytes.size()));
      file.add_integer("split.count", GgufValueType::kU16, parts);
      file.add_integer("split.tensors.count", GgufValueType::kI32, tensors);
    }
    bytes.push_back(file.finish());
  }
  return bytes;
}

Status write_tiny_gguf(const TinyModelSpec& spec, const std::string& path) {
  return write_file(path, tiny_gguf(spec));
}

}  // namespace dynamo::model::testing
