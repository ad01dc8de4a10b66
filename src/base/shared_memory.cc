#include "base/shared_memory.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include <fmt/format.h>

namespace dynamo {
namespace {

Result<std::byte*> map_fd(int fd, size_t bytes) {
  void* address = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, /*offset=*/0);
  if (address == MAP_FAILED) return exhausted(fmt::format("mapping {} bytes: {}", bytes, std::strerror(errno)));
  ::madvise(address, bytes, MADV_HUGEPAGE);  // a wish
  return static_cast<std::byte*>(address);
}

}  // namespace

Result<SharedMemory> SharedMemory::create(size_t bytes) {
  const int fd = ::memfd_create("dynamo-kv", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (fd < 0) return exhausted(fmt::format("memfd_create: {}", std::strerror(errno)));
  SharedMemory memory(nullptr, 0, fd);
  if (::ftruncate(fd, static_cast<off_t>(bytes)) != 0)
    return exhausted(fmt::format("{} bytes of shared memory: {}", bytes, std::strerror(errno)));
  // A peer that maps it must never find it shorter than it was told.
  ::fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
  TRY(memory.data_, map_fd(fd, bytes));
  memory.bytes_ = bytes;
  return memory;
}

Result<SharedMemory> SharedMemory::map(int fd, size_t bytes) {
  SharedMemory memory(nullptr, 0, fd);
  auto data = map_fd(fd, bytes);
  if (!data.is_ok()) return unavailable(std::string(data.status().text()));
  memory.data_ = *data;
  memory.bytes_ = bytes;
  return memory;
}

SharedMemory::SharedMemory(SharedMemory&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)),
      bytes_(std::exchange(other.bytes_, 0)),
      fd_(std::exchange(other.fd_, -1)) {}

SharedMemory& SharedMemory::operator=(SharedMemory&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(bytes_, other.bytes_);
  std::swap(fd_, other.fd_);
  return *this;
}

SharedMemory::~SharedMemory() {
  if (data_ != nullptr) ::munmap(data_, bytes_);
  if (fd_ >= 0) ::close(fd_);
}

}  // namespace dynamo
