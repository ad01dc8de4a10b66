// Memory in a memfd, which other processes of this host can map: KV pools, and what transfers share.
// Threads: a value; one owner.
#pragma once

#include <cstddef>

#include "base/memory.h"
#include "base/status.h"

namespace dynamo {

class SharedMemory {
 public:
  SharedMemory() = default;
  // `bytes` zero bytes, aligned to a page, with huge pages where the kernel gives them. Errors: kExhausted.
  static Result<SharedMemory> create(size_t bytes);
  // Maps `bytes` of the memory that another process's `fd` is; takes the fd. Errors: kUnavailable.
  static Result<SharedMemory> map(int fd, size_t bytes);

  SharedMemory(SharedMemory&& other) noexcept;
  SharedMemory& operator=(SharedMemory&& other) noexcept;
  ~SharedMemory();

  std::byte* data() const { return data_; }
  size_t bytes() const { return bytes_; }
  int fd() const { return fd_; }
  Memory memory() const { return {.data = data_, .bytes = bytes_, .fd = fd_}; }

 private:
  SharedMemory(std::byte* data, size_t bytes, int fd) : data_(data), bytes_(bytes), fd_(fd) {}
  std::byte* data_ = nullptr;
  size_t bytes_ = 0;
  int fd_ = -1;
};

}  // namespace dynamo
