// The weight types that GGUF files may name, by GGML's numbers.
// Source: GGML's ggml_type; sizes from its block layouts.  Threads: pure functions.  Private to the module.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "kernels/dtype.h"

namespace dynamo::model {

struct GgufTensorType {
  const char* name;         // GGML's, "Q4_K"
  uint32_t block_elements;  // 0: GGML dropped the type, so that its size is not known any more
  uint32_t block_bytes;
  std::optional<kernels::DType> dtype;  // empty: not computed with here
};

// Null if GGML has no type of this number.
const GgufTensorType* gguf_tensor_type(uint32_t number);

}  // namespace dynamo::model
