#include "model/testing/gguf_writer.h"

#include <bit>
#include <cstring>

namespace dynamo::model::testing {
namespace {

static_assert(std::endian::native == std::endian::little);

template <class T>
void put(std::string* out, T value) {
  char bytes[sizeof(T)];
  std::memcpy(bytes, &value, sizeof(T));
  out->append(bytes, sizeof(T));
}

void pad(std::string* out, uint32_t alignment) {
  out->resize((out->size() + alignment - 1) / alignment * alignment);
}

constexpr uint32_t kTypeU32 = 4;
constexpr uint32_t kTypeI32 = 5;
constexpr uint32_t kTypeF32 = 6;
constexpr uint32_t kTypeBool = 7;
constexpr uint32_t kTypeString = 8;
constexpr uint32_t kTypeArray = 9;

}  // namespace

uint32_t gguf_type(kernels::DType dtype) {
  switch (dtype) {
    case kernels::DType::kF32:
      return 0;
    case kernels::DType::kF16:
      return 1;
    case kernels::DType::kQ4_0:
      return 2;
    case kernels::DType::kQ4_1:
      return 3;
    case kernels::DType::kQ8_0:
      return 8;
    case kernels::DType::kBF16:
      return 30;
  }
  return 0;
}

void put_u32(std::string* out, uint32_t value) {
  put(out, value);
}

void put_u64(std::string* out, uint64_t value) {
  put(out, value);
}

void put_f32(std::string* out, float value) {
  put(out, value);
}

void put_string(std::string* out, std::string_view value) {
  put_u64(out, value.size());
  out->append(value);
}

void GgufWriter::add_raw(std::string_view key, uint32_t type, std::string_view bytes) {
  put_string(&metadata_, key);
  put_u32(&metadata_, type);
  metadata_.append(bytes);
  ++metadata_count_;
}

void GgufWriter::add_u32(std::string_view key, uint32_t value) {
  std::string bytes;
  put_u32(&bytes, value);
  add_raw(key, kTypeU32, bytes);
}

void GgufWriter::add_integer(std::string_view key, GgufValueType type, int64_t value) {
  constexpr size_t kSizes[] = {1, 1, 2, 2, 4, 4, 0, 0, 0, 0, 8, 8};
  std::string bytes;
  put(&bytes, value);
  add_raw(key, static_cast<uint32_t>(type), std::string_view(bytes).substr(0, kSizes[static_cast<uint32_t>(type)]));
}

void GgufWriter::add_f32(std::string_view key, float value) {
  std::string bytes;
  put_f32(&bytes, value);
  add_raw(key, kTypeF32, bytes);
}

void GgufWriter::add_bool(std::string_view key, bool value) {
  add_raw(key, kTypeBool, value ? std::string_view("\1", 1) : std::string_view("\0", 1));
}

void GgufWriter::add_string(std::string_view key, std::string_view value) {
  std::string bytes;
  put_string(&bytes, value);
  add_raw(key, kTypeString, bytes);
}

void GgufWriter::add_strings(std::string_view key, std::span<const std::string> values) {
  std::string bytes;
  put_u32(&bytes, kTypeString);
  put_u64(&bytes, values.size());
  for (const std::string& value : values) put_string(&bytes, value);
  add_raw(key, kTypeArray, bytes);
}

void GgufWriter::add_i32s(std::string_view key, std::span<const int32_t> values) {
  std::string bytes;
  put_u32(&bytes, kTypeI32);
  put_u64(&bytes, values.size());
  for (const int32_t value : values) put(&bytes, value);
  add_raw(key, kTypeArray, bytes);
}

void GgufWriter::add_f32s(std::string_view key, std::span<const float> values) {
  std::string bytes;
  put_u32(&bytes, kTypeF32);
  put_u64(&bytes, values.size());
  for (const float value : values) put_f32(&bytes, value);
  add_raw(key, kTypeArray, bytes);
}

void GgufWriter::add_tensor_entry(std::string_view name, std::span<const uint64_t> dims, uint32_t type,
                                  uint64_t offset) {
  put_string(&table_, name);
  put_u32(&table_, static_cast<uint32_t>(dims.size()));
  for (const uint64_t dim : dims) put_u64(&table_, dim);
  put_u32(&table_, type);
  put_u64(&table_, offset);
  ++tensor_count_;
}

void GgufWriter::add_tensor(std::string_view name, std::vector<uint64_t> dims, uint32_t type, std::string data) {
  add_tensor_entry(name, dims, type, 0);
  data_.push_back({table_.size() - sizeof(uint64_t), std::move(data)});
}

std::string GgufWriter::finish(uint32_t alignment) const {
  std::string table = table_;
  std::string data;
  for (const Data& tensor : data_) {
    pad(&data, alignment);
    const uint64_t offset = data.size();
    std::memcpy(table.data() + tensor.offset_place, &offset, sizeof(offset));
    data += tensor.bytes;
  }
  std::string file = "GGUF";
  put_u32(&file, version_);
  put_u64(&file, tensor_count_);
  put_u64(&file, metadata_count_);
  file += metadata_;
  file += table;
  pad(&file, alignment);
  file += data;
  pad(&file, alignment);
  return file;
}

}  // namespace dynamo::model::testing
