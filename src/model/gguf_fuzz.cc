// GGUF files: whatever the bytes are, opening one and reading all of it ends in a Status, without harm.
// The first byte says how the rest is used: as the file itself, as changes to a good one, so that what lies behind the
// header is reached without a corpus, or as changes to the second part of a good one in two.
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <vector>

#include "base/check.h"
#include "model/gguf_model.h"
#include "model/testing/tiny_model.h"
#include "model/weight_table.h"

namespace dynamo::model {
namespace {

constexpr size_t kPatchBytes = 11;  // u16 place, u8 count, 8 bytes

testing::TinyModelSpec small_spec(const Family& family) {
  testing::TinyModelSpec spec;
  spec.family = &family;
  spec.layers = 1;
  spec.width = 32;
  spec.heads = 2;
  spec.kv_heads = 1;
  spec.ffn_width = 32;
  spec.dtype = kernels::DType::kQ4_0;
  spec.rope_scaling = RopeScaling{};
  return spec;
}

std::string small_gguf(const Family& family) {
  return testing::tiny_gguf(small_spec(family));
}

std::string patched(std::string file, const uint8_t* data, size_t size) {
  for (; size >= kPatchBytes; data += kPatchBytes, size -= kPatchBytes) {
    const size_t place = data[0] | data[1] << 8;
    const size_t count = data[2] % 9;
    if (place + count <= file.size()) std::memcpy(file.data() + place, data + 3, count);
  }
  file.resize(file.size() - std::min<size_t>(size, file.size()));
  return file;
}

void read_all(const std::vector<std::string>& parts) {
  std::vector<std::span<const std::byte>> bytes;
  for (const std::string& part : parts) bytes.push_back(std::as_bytes(std::span(part)));
  const auto model = open_gguf_bytes(bytes);
  if (!model.is_ok()) return;
  size_t sum = 0;
  for (const WeightSlot slot : weight_slots((*model)->config())) {
    const auto weight = (*model)->weight(slot.role, slot.layer);
    if (!weight.is_ok()) continue;
    const size_t bytes = weight->rows * kernels::row_bytes(weight->dtype, weight->columns);
    sum += std::to_integer<size_t>(weight->data[0]) + std::to_integer<size_t>(weight->data[bytes - 1]);
  }
  static_cast<void>((*model)->tokenizer().is_ok());
  CHECK(sum <= 2 * 255 * weight_slots((*model)->config()).size());  // so that the reads are not left out
}

}  // namespace
}  // namespace dynamo::model

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace dynamo::model;
  static const std::vector<std::string> kGood = [] {
    std::vector<std::string> files;
    for (const Family* family : kFamilies) files.push_back(small_gguf(*family));
    return files;
  }();
  static const std::vector<std::string> kParts = testing::tiny_gguf_parts(small_spec(kQwen2), 2);
  if (size == 0) return 0;
  const size_t kind = data[0] % (kGood.size() + 2);
  if (kind == kGood.size()) {
    read_all({std::string(reinterpret_cast<const char*>(data + 1), size - 1)});
  } else if (kind == kGood.size() + 1) {
    read_all({kParts[0], patched(kParts[1], data + 1, size - 1)});
  } else {
    read_all({patched(kGood[kind], data + 1, size - 1)});
  }
  return 0;
}
