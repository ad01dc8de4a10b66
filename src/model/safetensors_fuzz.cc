// Safetensors: whatever header and data are, parsing ends in a table of ranges inside the data or in a Status.
// The bytes are used as a file, as a header, and as the numbers of well-formed entries.
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <span>
#include <string>

#include <fmt/format.h>

#include "base/check.h"
#include "model/safetensors.h"
#include "model/testing/safetensors_writer.h"

namespace dynamo::model {
namespace {

constexpr const char* kTypes[] = {"F32", "BF16", "F16", "I8", "BOOL", "F64", "Q9", ""};
constexpr const char* kNumbers[] = {
    "0",   "1",    "2",     "4", "8", "16", "-1", "4294967296", "9223372036854775808", "18446744073709551615",
    "1.0", "null", "\"4\"", "[]"};

std::string number(uint8_t byte) {
  return byte < 128 ? std::to_string(byte % 33) : kNumbers[byte % std::size(kNumbers)];
}

// Entries of six bytes each: type, two dimensions, begin, end, and whether the name is new.
std::string entries(std::span<const uint8_t> bytes) {
  std::string header = "{";
  for (size_t i = 0; i + 6 <= bytes.size() && i < 60; i += 6) {
    const auto entry = bytes.subspan(i, 6);
    header += fmt::format(R"({}"{}":{{"dtype":"{}","shape":[{},{}],"data_offsets":[{},{}]}})", i == 0 ? "" : ",",
                          entry[5] < 200 ? i : 0, kTypes[entry[0] % std::size(kTypes)], number(entry[1]),
                          number(entry[2]), number(entry[3]), number(entry[4]));
  }
  return header + "}";
}

void parse(const std::string& file) {
  const auto table = parse_safetensors(std::as_bytes(std::span(file)));
  if (!table.is_ok()) return;
  const auto* begin = reinterpret_cast<const std::byte*>(file.data());
  for (const auto& [name, tensor] : *table) {
    CHECK(tensor.data.data() >= begin && tensor.data.data() + tensor.data.size() <= begin + file.size());
  }
}

}  // namespace
}  // namespace dynamo::model

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace dynamo::model;
  const std::string bytes(reinterpret_cast<const char*>(data), size);
  parse(bytes);
  parse(testing::safetensors_file(bytes, std::string(16, 'd')));
  parse(testing::safetensors_file(entries({data, size}), std::string(32, 'd')));
  return 0;
}
