// Fields one after another in bytes, little-endian: for what ends tell each other once (metadata, hellos, pool cards).
//
//   numbers  as they lie in memory        text  u32 length | bytes
//
// Nothing read is trusted: the first field that is not there fails the reader, and all reads after it give zeros.  Threads: values.
// Private to the module.
#pragma once

#include <bit>
#include <concepts>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

namespace dynamo::transfer {

static_assert(std::endian::native == std::endian::little);

class ByteWriter {
 public:
  template <std::unsigned_integral T>
  void number(T value) {
    bytes_.append(reinterpret_cast<const char*>(&value), sizeof(value));
  }
  void text(std::string_view text) {
    number(static_cast<uint32_t>(text.size()));
    bytes_.append(text);
  }
  std::string take() { return std::move(bytes_); }

 private:
  std::string bytes_;
};

class ByteReader {
 public:
  explicit ByteReader(std::string_view bytes) : rest_(bytes) {}

  template <std::unsigned_integral T>
  T number() {
    T value = 0;
    const std::string_view bytes = take(sizeof(T));
    bytes.copy(reinterpret_cast<char*>(&value), bytes.size());
    return value;
  }
  // Into the bytes that are read.
  std::string_view text() { return take(number<uint32_t>()); }
  // Returns: whether everything was there, and nothing is left.
  bool is_done() const { return !is_short_ && rest_.empty(); }
  bool is_short() const { return is_short_; }

 private:
  std::string_view take(size_t bytes) {
    if (bytes > rest_.size()) is_short_ = true;
    if (is_short_) return {};
    const std::string_view taken = rest_.substr(0, bytes);
    rest_.remove_prefix(bytes);
    return taken;
  }

  std::string_view rest_;
  bool is_short_ = false;
};

}  // namespace dynamo::transfer
