#include "model/safetensors.h"

#include <algorithm>
#include <iterator>

#include <fmt/format.h>

#include "json/node.h"
#include "json/parse.h"
#include "model/byte_cursor.h"
#include "model/quote_name.h"

namespace dynamo::model {
namespace {

using kernels::DType;

constexpr uint64_t kMostHeaderBytes = 100'000'000;  // the format's own limit
constexpr size_t kMostDims = 8;

struct Type {
  const char* name;
  uint32_t bytes;
  std::optional<DType> dtype;
};
constexpr Type kTypes[] = {{"F32", 4, DType::kF32}, {"F16", 2, DType::kF16}, {"BF16", 2, DType::kBF16},
                           {"F64", 8, {}},          {"I64", 8, {}},          {"U64", 8, {}},
                           {"I32", 4, {}},          {"U32", 4, {}},          {"I16", 2, {}},
                           {"U16", 2, {}},          {"I8", 1, {}},           {"U8", 1, {}},
                           {"BOOL", 1, {}},         {"F8_E4M3", 1, {}},      {"F8_E5M2", 1, {}},
                           {"F8_E8M0", 1, {}}};

Result<const json::array*> array_of(const json::Node& node) {
  if (node.is_absent() || !node.value()->is_array()) {
    return corrupt(fmt::format("field '{}' is missing or no array", node.path()));
  }
  return node.array();
}

// As the format has it: written as an integer, and nothing else.
Result<uint64_t> size_from(const json::value& value, const char* what) {
  if (value.is_int64() && value.get_int64() >= 0) return static_cast<uint64_t>(value.get_int64());
  if (value.is_uint64()) return value.get_uint64();
  return corrupt(fmt::format("{} is not an integer of 0 or more", what));
}

// Bytes that the shape needs. Errors: kCorrupt (more than 2^64).
Result<uint64_t> read_shape(const json::Node& node, uint32_t element_bytes, std::vector<uint64_t>* shape) {
  TRY(const json::array* dims, array_of(node));
  if (dims->size() > kMostDims)
    return corrupt(fmt::format("{} dimensions; expected at most {}", dims->size(), kMostDims));
  uint64_t size = element_bytes;
  for (const json::value& dim : *dims) {
    TRY(const uint64_t extent, size_from(dim, "a dimension"));
    shape->push_back(extent);
    if (__builtin_mul_overflow(size, extent, &size)) return corrupt("its shape needs more than 2^64 bytes");
  }
  return size;
}

Result<SafetensorsTensor> read_entry(const json::value& value, std::span<const std::byte> data) {
  if (!value.is_object()) return corrupt("its entry is not an object");
  const json::Node entry(value);
  TRY(const std::string_view type_name, entry["dtype"].string());
  const auto* type =
      std::find_if(std::begin(kTypes), std::end(kTypes), [&](const Type& t) { return type_name == t.name; });
  if (type == std::end(kTypes)) return unsupported("its type " + quote_name(type_name) + " is not known");
  SafetensorsTensor tensor{std::string(type_name), type->dtype, {}, {}};
  TRY(const uint64_t size, read_shape(entry["shape"], type->bytes, &tensor.shape));
  TRY(const json::array* offsets, array_of(entry["data_offsets"]));
  if (offsets->size() != 2) return corrupt("field 'data_offsets' has not two entries");
  TRY(const uint64_t begin, size_from((*offsets)[0], "data_offsets[0]"));
  TRY(const uint64_t end, size_from((*offsets)[1], "data_offsets[1]"));
  if (begin > end || end > data.size()) {
    return corrupt(
        fmt::format("its data, bytes {} to {}, is not within the file's {} bytes of data", begin, end, data.size()));
  }
  if (end - begin != size) {
    return corrupt(fmt::format("its data has {} bytes; its type and shape need {}", end - begin, size));
  }
  tensor.data = data.subspan(begin, size);
  return tensor;
}

// That the tensors cover the data without gap or overlap.
Status check_cover(const SafetensorsTable& table, std::span<const std::byte> data) {
  std::vector<const SafetensorsTable::value_type*> order;
  for (const auto& entry : table) order.push_back(&entry);
  const auto start = [](const auto* entry) { return std::pair(entry->second.data.data(), entry->second.data.size()); };
  std::sort(order.begin(), order.end(), [&](const auto* a, const auto* b) { return start(a) < start(b); });
  size_t covered = 0;
  for (const auto* entry : order) {
    const size_t begin = static_cast<size_t>(entry->second.data.data() - data.data());
    if (begin != covered) {
      return corrupt(fmt::format("tensor {}: its data starts at byte {}; expected {}, where the one before ends",
                                 quote_name(entry->first), begin, covered));
    }
    covered += entry->second.data.size();
  }
  if (covered == data.size()) return {};
  return corrupt(fmt::format("the tensors end at byte {} of {} bytes of data", covered, data.size()));
}

}  // namespace

Result<SafetensorsTable> parse_safetensors(std::span<const std::byte> bytes) {
  ByteCursor cursor(bytes);
  TRY(const uint64_t header_bytes, cursor.number<uint64_t>("the header's length"));
  if (header_bytes > kMostHeaderBytes) {
    return corrupt(fmt::format("a header of {} bytes; expected at most {}", header_bytes, kMostHeaderBytes));
  }
  TRY(const auto header, cursor.take(header_bytes, "the header"));
  const auto data = bytes.subspan(cursor.offset());
  const auto entries = json::parse_object({reinterpret_cast<const char*>(header.data()), header.size()});
  if (!entries.is_ok()) return entries.status().with("the header");
  SafetensorsTable table;
  for (const auto& [key, value] : entries->get_object()) {
    if (key == "__metadata__") continue;
    const std::string name(key.data(), key.size());
    auto tensor = read_entry(value, data);
    if (!tensor.is_ok()) return tensor.status().with("tensor " + quote_name(name));
    table.emplace(name, std::move(tensor).value());
  }
  TRY_STATUS(check_cover(table, data));
  return table;
}

}  // namespace dynamo::model
