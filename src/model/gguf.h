// Reads a GGUF file: metadata and the table of tensors. What the values mean is model/gguf_config.h's matter.
//
// Nothing of the file is believed: each length, count, offset, type and dimension is checked against what is left of the
// file before it is used, nothing is reserved by a count that the file claims, and names may not repeat. Values and
// tensors are views into the file's bytes. Format: GGUF version 2 and 3, little-endian (GGML's docs/gguf.md).
// Threads: immutable after parse(); any thread.  Private to the module.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace dynamo::model {

// The numbers are the format's.
enum class GgufValueType : uint32_t {
  kU8,
  kI8,
  kU16,
  kI16,
  kU32,
  kI32,
  kF32,
  kBool,
  kString,
  kArray,
  kU64,
  kI64,
  kF64
};

// One metadata value, or an array of them. Arrays of arrays are refused when the file is read.
struct GgufValue {
  GgufValueType type = GgufValueType::kU8;  // of the elements, if an array
  bool is_array = false;
  uint64_t count = 1;
  std::span<const std::byte> bytes;  // of the elements, as stored
};

struct GgufTensor {
  std::string_view name;
  uint32_t type = 0;  // known to gguf_tensor_type(), with a known size
  uint32_t dim_count = 0;
  std::array<uint64_t, 4> dims = {1, 1, 1, 1};  // fastest first: columns, rows, ...
  std::span<const std::byte> data;              // exactly as many bytes as type and dims need
};

class GgufFile {
 public:
  // `bytes` is the file, and outlives the result. Errors: kCorrupt and kUnsupported (another version, big-endian, an
  // unknown type) with the key or tensor, the byte offset, and what was expected there.
  static Result<GgufFile> parse(std::span<const std::byte> bytes);

  uint32_t version() const { return version_; }
  const std::vector<GgufTensor>& tensors() const { return tensors_; }
  const GgufTensor* find_tensor(std::string_view name) const;
  // Takes over the tensors of another part of the same model, whose bytes outlive this too. Errors: kCorrupt (a tensor that
  // is here already).
  Status add_tensors(const GgufFile& part);
  const std::map<std::string_view, GgufValue>& metadata() const { return metadata_; }

  // A key's value, or nothing if the file has no such key. Any integer type that holds the value will do for an
  // unsigned; integers will do for a number. Errors: kCorrupt (of another type; negative or not finite).
  Result<std::optional<uint64_t>> find_unsigned(std::string_view key) const;
  Result<std::optional<double>> find_number(std::string_view key) const;
  Result<std::optional<bool>> find_bool(std::string_view key) const;
  Result<std::optional<std::string_view>> find_string(std::string_view key) const;
  Result<std::optional<std::vector<std::string_view>>> find_strings(std::string_view key) const;
  Result<std::optional<std::vector<int64_t>>> find_integers(std::string_view key) const;

 private:
  class Parser;
  uint32_t version_ = 0;
  std::map<std::string_view, GgufValue> metadata_;  // ordered: no hash for a hostile file to collide
  std::vector<GgufTensor> tensors_;
  std::map<std::string_view, size_t> tensor_index_;
};

}  // namespace dynamo::model
