#include "model/testing/tiny_tensors.h"

#include <fmt/format.h>

#include "base/check.h"

namespace dynamo::model::testing {
namespace {

// GPT-2's alphabet: printable bytes stand for themselves, the others for U+0100 and on, in order.
std::string byte_letter(int byte, int* unprintable) {
  const bool is_printable = (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
  const int code = is_printable ? byte : 256 + (*unprintable)++;
  if (code < 0x80) return std::string(1, static_cast<char>(code));
  return {static_cast<char>(0xC0 | code >> 6), static_cast<char>(0x80 | (code & 0x3F))};
}

}  // namespace

std::vector<float> tiny_tensor(const ModelConfig& config, WeightSlot slot) {
  const WeightShape shape = weight_shape(config, slot.role);
  const std::string name = hf_weight_name(config, slot);
  std::vector<float> values(shape.rows * shape.columns);
  for (size_t i = 0; i < values.size(); ++i) values[i] = tiny_weight(name, shape.columns, i);
  return values;
}

std::vector<std::string> tiny_vocabulary(const TinyModelSpec& spec) {
  CHECK(spec.vocab_size >= kTinyFirstSpecial + 3);
  std::vector<std::string> vocabulary;
  int unprintable = 0;
  for (int byte = 0; byte < 256; ++byte) vocabulary.push_back(byte_letter(byte, &unprintable));
  vocabulary.insert(vocabulary.end(), {"<|endoftext|>", "<|im_start|>", "<|im_end|>"});
  for (uint32_t i = 0; vocabulary.size() < spec.vocab_size; ++i)
    vocabulary.push_back(fmt::format("<|reserved_{}|>", i));
  return vocabulary;
}

}  // namespace dynamo::model::testing
