// Safetensors: whatever header and data are, parsing ends in a table of ranges inside the data or in a Status.
#include <cstddef>
#include <cstdint>
#include <string>

#include "base/check.h"
#include "model/safetensors.h"
#include "model/testing/safetensors_writer.h"

namespace {

void parse(const std::string& file) {
  const auto table = dynamo::model::parse_safetensors(std::as_bytes(std::span(file)));
  if (!table.is_ok()) return;
  for (const auto& [name, tensor] : *table) CHECK(tensor.data.size() <= file.size());
}

}  // namespace

// The bytes as a file, and as a header of the right length before some data.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string bytes(reinterpret_cast<const char*>(data), size);
  parse(bytes);
  parse(dynamo::model::testing::safetensors_file(bytes, std::string(16, 'd')));
  return 0;
}
