// Number formats of weights and activations. kernels/dtype.h Block formats hold 32 weights of one row: Q8_0 {f16 d; i8
// q[32]}, w = d q;  Q4_0 {f16 d; u8 q[16]}, w = d (n - 8); Q4_1 {f16 d; f16 m; u8 q[16]}, w = d n + m, where n is a
// nibble: weight i < 16 is the low nibble of byte i, i + 16 the high one. Format: GGML.  Threads: values.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace dynamo::kernels {

enum class DType : uint8_t { kF32, kF16, kBF16, kQ8_0, kQ4_0, kQ4_1 };

// Weights per block, and bytes per block, of a row in memory. One and the element's size for plain formats.
constexpr size_t block_elements(DType dtype) {
  return dtype >= DType::kQ8_0 ? 32 : 1;
}
constexpr size_t block_bytes(DType dtype) {
  switch (dtype) {
    case DType::kF32:
      return 4;
    case DType::kF16:
    case DType::kBF16:
      return 2;
    case DType::kQ8_0:
      return 34;
    case DType::kQ4_0:
      return 18;
    case DType::kQ4_1:
      return 20;
  }
  return 0;
}
// Bytes of a row of `columns` elements. Requires: columns is a multiple of block_elements.
constexpr size_t row_bytes(DType dtype, size_t columns) {
  return columns / block_elements(dtype) * block_bytes(dtype);
}

// "F32", "Q4_1", ...
std::string_view dtype_name(DType dtype);

}  // namespace dynamo::kernels
