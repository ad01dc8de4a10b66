#include "model/testing/safetensors_writer.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "model/testing/gguf_writer.h"

namespace dynamo::model::testing {

void SafetensorsWriter::add(std::string_view name, std::string_view dtype, const std::vector<uint64_t>& shape,
                            std::string_view data) {
  if (!header_.empty()) header_ += ',';
  header_ += fmt::format(R"("{}":{{"dtype":"{}","shape":[{}],"data_offsets":[{},{}]}})", name, dtype,
                         fmt::join(shape, ","), data_.size(), data_.size() + data.size());
  data_ += data;
}

std::string SafetensorsWriter::finish() const {
  std::string header = "{" + header_ + "}";
  header.resize((header.size() + 7) / 8 * 8, ' ');  // so that the data is aligned, as the format asks
  return safetensors_file(header, data_);
}

std::string safetensors_file(std::string_view header, std::string_view data) {
  std::string file;
  put_u64(&file, header.size());
  file += header;
  file += data;
  return file;
}

}  // namespace dynamo::model::testing
