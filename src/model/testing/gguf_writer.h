// Writes GGUF files for tests, well-formed ones and, through add_raw() and add_tensor_entry(), broken ones.
// Format: GGUF version 3 (or 2), little-endian.  Threads: one.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/dtype.h"
#include "model/gguf.h"

namespace dynamo::model::testing {

// GGUF's number for a weight type.
uint32_t gguf_type(kernels::DType dtype);

class GgufWriter {
 public:
  explicit GgufWriter(uint32_t version = 3) : version_(version) {}

  void add_u32(std::string_view key, uint32_t value);
  // Of any of GGUF's integer types. Requires: it holds the value.
  void add_integer(std::string_view key, GgufValueType type, int64_t value);
  void add_f32(std::string_view key, float value);
  void add_bool(std::string_view key, bool value);
  void add_string(std::string_view key, std::string_view value);
  void add_strings(std::string_view key, std::span<const std::string> values);
  void add_i32s(std::string_view key, std::span<const int32_t> values);
  void add_f32s(std::string_view key, std::span<const float> values);
  // A metadata value of any type number, its bytes as given.
  void add_raw(std::string_view key, uint32_t type, std::string_view bytes);

  // `dims` fastest first, as GGUF has them: {columns, rows}.
  void add_tensor(std::string_view name, std::vector<uint64_t> dims, uint32_t type, std::string data);
  // A table entry alone, with the offset that it claims.
  void add_tensor_entry(std::string_view name, std::span<const uint64_t> dims, uint32_t type, uint64_t offset);

  // The file. `alignment` is what general.alignment says, or 32 if it is absent.
  std::string finish(uint32_t alignment = 32) const;

 private:
  uint32_t version_;
  uint64_t metadata_count_ = 0;
  uint64_t tensor_count_ = 0;
  std::string metadata_;
  std::string table_;
  struct Data {
    size_t offset_place;  // in table_
    std::string bytes;
  };
  std::vector<Data> data_;
};

// Little-endian bytes of an integer or float, and a length-prefixed string, appended.
void put_u32(std::string* out, uint32_t value);
void put_u64(std::string* out, uint64_t value);
void put_f32(std::string* out, float value);
void put_string(std::string* out, std::string_view value);

}  // namespace dynamo::model::testing
