#include <bit>
#include <cstring>

#include <fmt/format.h>

#include "model/byte_cursor.h"
#include "model/gguf.h"
#include "model/gguf_types.h"
#include "model/quote_name.h"

namespace dynamo::model {
namespace {

constexpr uint64_t kMostEntries = 100'000;  // of metadata or tensors; real files have a few thousand at most
constexpr uint64_t kSmallestValue = 14;     // bytes: a key's length, a letter, a type, a byte
constexpr uint64_t kSmallestTensor = 33;    // bytes: a name's length, a letter, one dimension, type and offset
constexpr uint32_t kDefaultAlignment = 32;

// 0 for strings and arrays.
size_t fixed_size(GgufValueType type) {
  constexpr uint8_t kSizes[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
  return kSizes[static_cast<uint32_t>(type)];
}

}  // namespace

class GgufFile::Parser {
 public:
  explicit Parser(std::span<const std::byte> bytes) : bytes_(bytes), cursor_(bytes) {}

  Result<GgufFile> parse() {
    TRY_STATUS(read_header());
    for (uint64_t i = 0; i < metadata_count_; ++i) TRY_STATUS(read_value());
    for (uint64_t i = 0; i < tensor_count_; ++i) TRY_STATUS(read_tensor());
    TRY(const uint64_t start, data_start());
    for (size_t i = 0; i < file_.tensors_.size(); ++i) TRY_STATUS(place_data(start, i));
    return std::move(file_);
  }

 private:
  Status read_header() {
    TRY(const auto magic, cursor_.take(4, "the magic number"));
    if (std::memcmp(magic.data(), "GGUF", 4) != 0) return corrupt("at byte 0: not a GGUF file (it starts otherwise)");
    TRY(file_.version_, cursor_.number<uint32_t>("the version"));
    const uint32_t version = file_.version_;
    if (version != 0 && (version & 0xFFFF) == 0)
      return unsupported("a big-endian GGUF file; only little-endian ones are read");
    if (version != 2 && version != 3) {
      return unsupported(fmt::format("GGUF version {}; versions 2 and 3 are read", version));
    }
    TRY(tensor_count_, cursor_.number<uint64_t>("the number of tensors"));
    TRY(metadata_count_, cursor_.number<uint64_t>("the number of metadata values"));
    TRY_STATUS(check_count(metadata_count_, kSmallestValue, "metadata values"));
    return check_count(tensor_count_, kSmallestTensor, "tensors");
  }

  Status check_count(uint64_t count, uint64_t smallest, const char* what) const {
    const uint64_t most = std::min(kMostEntries, cursor_.left() / smallest);
    if (count <= most) return {};
    return corrupt(fmt::format("the header claims {} {}; a file of {} bytes can hold {} at most", count, what,
                               bytes_.size(), most));
  }

  Status read_value() {
    const size_t place = cursor_.offset();
    TRY(const std::string_view key, cursor_.string("a metadata key"));
    if (key.empty()) return corrupt(fmt::format("at byte {}: a metadata key is empty", place));
    auto value = read_value_of();
    if (!value.is_ok()) return value.status().with("metadata " + quote_name(key));
    if (!file_.metadata_.emplace(key, *value).second) {
      return corrupt(fmt::format("at byte {}: metadata {} is there twice", place, quote_name(key)));
    }
    return {};
  }

  Result<GgufValueType> read_type() {
    TRY(const uint32_t number, cursor_.number<uint32_t>("a value's type"));
    if (number > static_cast<uint32_t>(GgufValueType::kF64)) {
      return corrupt(fmt::format("at byte {}: value type {}; expected 0 to 12", cursor_.offset() - 4, number));
    }
    return static_cast<GgufValueType>(number);
  }

  Result<GgufValue> read_value_of() {
    GgufValue value;
    TRY(value.type, read_type());
    if (value.type == GgufValueType::kArray) {
      value.is_array = true;
      TRY(value.type, read_type());
      if (value.type == GgufValueType::kArray) {
        return unsupported(fmt::format("at byte {}: an array of arrays", cursor_.offset() - 4));
      }
      TRY(value.count, cursor_.number<uint64_t>("an array's length"));
    }
    TRY(value.bytes, value.type == GgufValueType::kString ? take_strings(value.count)
                                                          : take_fixed(value.count, fixed_size(value.type)));
    return value;
  }

  Result<std::span<const std::byte>> take_fixed(uint64_t count, size_t size) {
    if (count > cursor_.left() / size) {
      return corrupt(fmt::format("at byte {}: {} values of {} bytes, but the file ends after {}", cursor_.offset(),
                                 count, size, cursor_.left()));
    }
    return cursor_.take(count * size, "a value");
  }

  Result<std::span<const std::byte>> take_strings(uint64_t count) {
    const size_t start = cursor_.offset();
    if (count > cursor_.left() / sizeof(uint64_t)) {
      return corrupt(
          fmt::format("at byte {}: {} strings, but the file ends after {} bytes", start, count, cursor_.left()));
    }
    for (uint64_t i = 0; i < count; ++i) TRY_STATUS(cursor_.string("a string"));
    return bytes_.subspan(start, cursor_.offset() - start);
  }

  Status read_tensor() {
    const size_t place = cursor_.offset();
    GgufTensor tensor;
    TRY(tensor.name, cursor_.string("a tensor's name"));
    if (tensor.name.empty()) return corrupt(fmt::format("at byte {}: a tensor's name is empty", place));
    const Status status = read_shape(&tensor);
    if (!status.is_ok()) return status.with("tensor " + quote_name(tensor.name));
    if (!file_.tensor_index_.emplace(tensor.name, file_.tensors_.size()).second) {
      return corrupt(fmt::format("at byte {}: tensor {} is there twice", place, quote_name(tensor.name)));
    }
    file_.tensors_.push_back(tensor);
    return {};
  }

  Status read_shape(GgufTensor* tensor) {
    TRY(tensor->dim_count, cursor_.number<uint32_t>("the number of dimensions"));
    if (tensor->dim_count < 1 || tensor->dim_count > tensor->dims.size()) {
      return corrupt(
          fmt::format("at byte {}: {} dimensions; expected 1 to 4", cursor_.offset() - 4, tensor->dim_count));
    }
    for (uint32_t i = 0; i < tensor->dim_count; ++i) {
      TRY(tensor->dims[i], cursor_.number<uint64_t>("a dimension"));
      if (tensor->dims[i] == 0) return corrupt(fmt::format("at byte {}: dimension {} is 0", cursor_.offset() - 8, i));
    }
    TRY(tensor->type, cursor_.number<uint32_t>("the type"));
    const GgufTensorType* type = gguf_tensor_type(tensor->type);
    if (type == nullptr)
      return unsupported(fmt::format("at byte {}: type {}, which is unknown", cursor_.offset() - 4, tensor->type));
    if (type->block_elements == 0)
      return unsupported(fmt::format("its type is {}, which GGML has dropped", type->name));
    TRY(const uint64_t offset, cursor_.number<uint64_t>("the data's offset"));
    offsets_.push_back(offset);
    return {};
  }

  // The data begins at the first multiple of the alignment behind the table, and each tensor at another.
  Result<uint64_t> data_start() {
    TRY(const auto alignment, file_.find_unsigned("general.alignment"));
    alignment_ = alignment.value_or(kDefaultAlignment);
    if (alignment_ < 1 || alignment_ > (1U << 30) || !std::has_single_bit(alignment_)) {
      return corrupt(fmt::format("metadata 'general.alignment' is {}; expected a power of two", alignment_));
    }
    return (cursor_.offset() + alignment_ - 1) / alignment_ * alignment_;
  }

  Status place_data(uint64_t start, size_t index) {
    GgufTensor* tensor = &file_.tensors_[index];
    const Status status = place_data(start, offsets_[index], tensor);
    return status.with("tensor " + quote_name(tensor->name));
  }

  Status place_data(uint64_t start, uint64_t offset, GgufTensor* tensor) const {
    const GgufTensorType& type = *gguf_tensor_type(tensor->type);
    if (tensor->dims[0] % type.block_elements != 0) {
      return corrupt(
          fmt::format("{} columns; {} comes in blocks of {}", tensor->dims[0], type.name, type.block_elements));
    }
    uint64_t size = tensor->dims[0] / type.block_elements;
    bool is_too_big = __builtin_mul_overflow(size, uint64_t{type.block_bytes}, &size);
    for (uint32_t i = 1; i < tensor->dim_count; ++i) is_too_big |= __builtin_mul_overflow(size, tensor->dims[i], &size);
    const uint64_t room = bytes_.size() > start ? bytes_.size() - start : 0;
    if (is_too_big || offset > room || size > room - offset) {
      const std::string bytes = is_too_big ? "more than 2^64" : std::to_string(size);
      return corrupt(
          fmt::format("its data, {} bytes at offset {} behind byte {}, goes past the end of the file ({} bytes)", bytes,
                      offset, start, bytes_.size()));
    }
    if (offset % alignment_ != 0) {
      return corrupt(fmt::format("its data's offset {} is no multiple of the alignment {}", offset, alignment_));
    }
    tensor->data = bytes_.subspan(start + offset, size);
    return {};
  }

  std::span<const std::byte> bytes_;
  ByteCursor cursor_;
  uint64_t metadata_count_ = 0;
  uint64_t tensor_count_ = 0;
  uint64_t alignment_ = kDefaultAlignment;
  std::vector<uint64_t> offsets_;  // of each tensor's data, as the table has them
  GgufFile file_;
};

Result<GgufFile> GgufFile::parse(std::span<const std::byte> bytes) {
  return Parser(bytes).parse();
}

}  // namespace dynamo::model
