// Reads the header of a safetensors file.
//
// Nothing of it is believed: the header's length, each dtype, shape and range is checked, and the ranges must cover the
// data from its first byte to its last without gap or overlap, as the format asks.
// Format: u64 length, JSON header of that length, data (github.com/huggingface/safetensors).
// Threads: immutable after parse(); any thread.  Private to the module.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/status.h"
#include "kernels/dtype.h"

namespace dynamo::model {

struct SafetensorsTensor {
  std::string type;                     // as the file spells it, "BF16"
  std::optional<kernels::DType> dtype;  // empty: not computed with here
  std::vector<uint64_t> shape;          // slowest first: rows, columns
  std::span<const std::byte> data;      // exactly as many bytes as type and shape need
};

using SafetensorsTable = std::map<std::string, SafetensorsTensor, std::less<>>;

// `bytes` is the file, and outlives the result. Errors: kCorrupt, kUnsupported (a type that is not known), with the
// tensor's name.
Result<SafetensorsTable> parse_safetensors(std::span<const std::byte> bytes);

}  // namespace dynamo::model
