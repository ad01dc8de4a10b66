// Writes safetensors files for tests.
// Format: u64 length, JSON header, data.  Threads: one.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace dynamo::model::testing {

class SafetensorsWriter {
 public:
  // `dtype` as the format spells it: "F32", "BF16".
  void add(std::string_view name, std::string_view dtype, const std::vector<uint64_t>& shape, std::string_view data);
  std::string finish() const;

 private:
  std::string header_;  // entries, separated by commas
  std::string data_;
};

// A file with this header, right or wrong, and `data` after it.
std::string safetensors_file(std::string_view header, std::string_view data);

}  // namespace dynamo::model::testing
