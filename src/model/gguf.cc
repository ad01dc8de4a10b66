#include "model/gguf.h"

#include <cmath>

#include <fmt/format.h>

#include "model/byte_cursor.h"
#include "model/quote_name.h"

namespace dynamo::model {
namespace {

const char* type_name(GgufValueType type) {
  constexpr const char* kNames[] = {"u8",   "i8",     "u16",   "i16", "u32", "i32", "f32",
                                    "bool", "string", "array", "u64", "i64", "f64"};
  return kNames[static_cast<uint32_t>(type)];
}

template <class T>
T read_as(std::span<const std::byte> bytes) {
  T value;
  std::memcpy(&value, bytes.data(), sizeof(T));
  return value;
}

// What a scalar integer holds; nothing if it is no integer or does not fit.
std::optional<int64_t> integer_of(GgufValueType type, std::span<const std::byte> bytes) {
  switch (type) {
    case GgufValueType::kU8:
      return read_as<uint8_t>(bytes);
    case GgufValueType::kI8:
      return read_as<int8_t>(bytes);
    case GgufValueType::kU16:
      return read_as<uint16_t>(bytes);
    case GgufValueType::kI16:
      return read_as<int16_t>(bytes);
    case GgufValueType::kU32:
      return read_as<uint32_t>(bytes);
    case GgufValueType::kI32:
      return read_as<int32_t>(bytes);
    case GgufValueType::kU64:
      if (read_as<uint64_t>(bytes) > INT64_MAX) return std::nullopt;
      return static_cast<int64_t>(read_as<uint64_t>(bytes));
    case GgufValueType::kI64:
      return read_as<int64_t>(bytes);
    default:
      return std::nullopt;
  }
}

Status wrong_type(std::string_view key, const GgufValue& value, std::string_view expected) {
  return corrupt(fmt::format("metadata {}: is {}{}; expected {}", quote_name(key),
                             value.is_array ? "an array of " : "of type ", type_name(value.type), expected));
}

}  // namespace

const GgufTensor* GgufFile::find_tensor(std::string_view name) const {
  const auto found = tensor_index_.find(name);
  return found == tensor_index_.end() ? nullptr : &tensors_[found->second];
}

Status GgufFile::add_tensors(const GgufFile& part) {
  for (const GgufTensor& tensor : part.tensors_) {
    if (!tensor_index_.emplace(tensor.name, tensors_.size()).second) {
      return corrupt(
          fmt::format("tensor {} is in a part before, too; they are not of one model", quote_name(tensor.name)));
    }
    tensors_.push_back(tensor);
  }
  return {};
}

Result<std::optional<uint64_t>> GgufFile::find_unsigned(std::string_view key) const {
  const auto found = metadata_.find(key);
  if (found == metadata_.end()) return std::optional<uint64_t>();
  const GgufValue& value = found->second;
  const auto number = value.is_array ? std::nullopt : integer_of(value.type, value.bytes);
  if (!number) return wrong_type(key, value, "an unsigned integer");
  if (*number < 0) return corrupt(fmt::format("metadata {}: is {}; expected 0 or more", quote_name(key), *number));
  return std::optional(static_cast<uint64_t>(*number));
}

Result<std::optional<double>> GgufFile::find_number(std::string_view key) const {
  const auto found = metadata_.find(key);
  if (found == metadata_.end()) return std::optional<double>();
  const GgufValue& value = found->second;
  if (value.is_array) return wrong_type(key, value, "a number");
  double number = 0;
  if (value.type == GgufValueType::kF32) {
    number = read_as<float>(value.bytes);
  } else if (value.type == GgufValueType::kF64) {
    number = read_as<double>(value.bytes);
  } else if (const auto integer = integer_of(value.type, value.bytes)) {
    number = static_cast<double>(*integer);
  } else {
    return wrong_type(key, value, "a number");
  }
  if (!std::isfinite(number)) return corrupt(fmt::format("metadata {}: is not finite", quote_name(key)));
  return std::optional(number);
}

Result<std::optional<bool>> GgufFile::find_bool(std::string_view key) const {
  const auto found = metadata_.find(key);
  if (found == metadata_.end()) return std::optional<bool>();
  const GgufValue& value = found->second;
  if (value.is_array || value.type != GgufValueType::kBool) return wrong_type(key, value, "a bool");
  return std::optional(value.bytes[0] != std::byte{0});
}

Result<std::optional<std::string_view>> GgufFile::find_string(std::string_view key) const {
  const auto found = metadata_.find(key);
  if (found == metadata_.end()) return std::optional<std::string_view>();
  const GgufValue& value = found->second;
  if (value.is_array || value.type != GgufValueType::kString) return wrong_type(key, value, "a string");
  TRY(const std::string_view text, ByteCursor(value.bytes).string("a string"));
  return std::optional(text);
}

Result<std::optional<std::vector<std::string_view>>> GgufFile::find_strings(std::string_view key) const {
  const auto found = metadata_.find(key);
  if (found == metadata_.end()) return std::optional<std::vector<std::string_view>>();
  const GgufValue& value = found->second;
  if (!value.is_array || value.type != GgufValueType::kString) return wrong_type(key, value, "an array of strings");
  std::vector<std::string_view> strings(value.count);  // they were all walked over, so they are all there
  ByteCursor cursor(value.bytes);
  for (std::string_view& string : strings) {
    TRY(string, cursor.string("a string"));
  }
  return std::optional(std::move(strings));
}

Result<std::optional<std::vector<int64_t>>> GgufFile::find_integers(std::string_view key) const {
  const auto found = metadata_.find(key);
  if (found == metadata_.end()) return std::optional<std::vector<int64_t>>();
  const GgufValue& value = found->second;
  if (!value.is_array || value.type == GgufValueType::kString) return wrong_type(key, value, "an array of integers");
  const size_t size = value.count > 0 ? value.bytes.size() / value.count : 0;
  std::vector<int64_t> integers(value.count);
  for (size_t i = 0; i < integers.size(); ++i) {
    const auto integer = integer_of(value.type, value.bytes.subspan(i * size, size));
    if (!integer) return wrong_type(key, value, "an array of integers");
    integers[i] = *integer;
  }
  return std::optional(std::move(integers));
}

}  // namespace dynamo::model
