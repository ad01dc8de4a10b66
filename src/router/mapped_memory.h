// Memory straight from the kernel: zeroed, page-aligned, given back the moment it is dropped.
// From 2 MiB on it is aligned to 2 MiB and the kernel is asked for huge pages, so that a random access into a table of
// hundreds of MiB costs a cache miss and not a walk through the page tables as well.  Threads: a value; one owner.
// Private to the module.
#pragma once

#include <cstddef>

namespace dynamo::router {

inline constexpr size_t kPageBytes = 4096;
inline constexpr size_t kHugePageBytes = size_t{2} << 20;

class MappedMemory {
 public:
  MappedMemory() = default;
  // Returns: `bytes` zero bytes, or an empty object when the kernel has none.  Requires: a multiple of kPageBytes, not
  // 0.
  static MappedMemory map(size_t bytes);
  // Address space only: a page costs memory once it is written to. The first 2 MiB are small pages, the rest huge ones.
  static MappedMemory reserve(size_t bytes);

  MappedMemory(MappedMemory&& other) noexcept;
  MappedMemory& operator=(MappedMemory&& other) noexcept;
  ~MappedMemory();

  // Gives the pages back and keeps the addresses, which read as zero again.
  void discard();

  bool is_empty() const { return data_ == nullptr; }
  std::byte* data() const { return data_; }
  size_t size() const { return size_; }

 private:
  MappedMemory(std::byte* data, size_t size) : data_(data), size_(size) {}
  std::byte* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace dynamo::router
