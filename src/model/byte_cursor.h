// Walks over untrusted little-endian bytes; no read goes past the end.
// Threads: one.  Private to the module.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>

#include <fmt/format.h>

#include "base/status.h"

namespace dynamo::model {

static_assert(std::endian::native == std::endian::little, "values are copied out of files as they are");

class ByteCursor {
 public:
  explicit ByteCursor(std::span<const std::byte> bytes) : bytes_(bytes) {}

  size_t offset() const { return offset_; }
  size_t left() const { return bytes_.size() - offset_; }

  // The next bytes. Errors: kCorrupt, with the offset, what was wanted and what is left.
  Result<std::span<const std::byte>> take(uint64_t count, std::string_view what) {
    if (count > left()) {
      return corrupt(
          fmt::format("at byte {}: {} needs {} bytes, but the file ends after {}", offset_, what, count, left()));
    }
    const auto taken = bytes_.subspan(offset_, count);
    offset_ += count;
    return taken;
  }
  template <class T>
  Result<T> number(std::string_view what) {
    TRY(const auto bytes, take(sizeof(T), what));
    T value;
    std::memcpy(&value, bytes.data(), sizeof(T));
    return value;
  }
  // A string after its length, which takes 8 bytes.
  Result<std::string_view> string(std::string_view what) {
    TRY(const uint64_t size, number<uint64_t>(what));
    TRY(const auto bytes, take(size, what));
    return std::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  }

 private:
  std::span<const std::byte> bytes_;
  size_t offset_ = 0;
};

}  // namespace dynamo::model
