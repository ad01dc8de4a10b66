#include "router/mapped_memory.h"

#include <sys/mman.h>

#include <cstdint>
#include <utility>

#include "base/check.h"

namespace dynamo::router {
namespace {

std::byte* map_pages(size_t bytes) {
  void* address =
      ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, /*offset=*/0);
  return address == MAP_FAILED ? nullptr : static_cast<std::byte*>(address);
}

// A wish: without it the memory works, more slowly.
void ask_for_huge_pages(std::byte* start, size_t bytes) {
  ::madvise(start, bytes, MADV_HUGEPAGE);
}

// To cut a mapping in two may take one more than the system allows. What cannot be given back then is only addresses:
// the pages are.
void unmap(std::byte* start, size_t bytes) {
  if (bytes > 0 && ::munmap(start, bytes) != 0) ::madvise(start, bytes, MADV_DONTNEED);
}

// Maps more than needed and gives back what lies before and after the aligned part.
std::byte* map_aligned(size_t bytes) {
  std::byte* const start = map_pages(bytes + kHugePageBytes);
  if (start == nullptr) return nullptr;
  const size_t before = -reinterpret_cast<uintptr_t>(start) & (kHugePageBytes - 1);
  unmap(start, before);
  unmap(start + before + bytes, kHugePageBytes - before);
  return start + before;
}

}  // namespace

MappedMemory MappedMemory::map(size_t bytes) {
  CHECK(bytes > 0 && bytes % kPageBytes == 0);
  std::byte* const data = bytes >= kHugePageBytes ? map_aligned(bytes) : map_pages(bytes);
  if (data == nullptr) return {};
  if (bytes >= kHugePageBytes) ask_for_huge_pages(data, bytes);
  return {data, bytes};
}

MappedMemory MappedMemory::reserve(size_t bytes) {
  CHECK(bytes > 0 && bytes % kPageBytes == 0);
  std::byte* const data = map_aligned(bytes);
  if (data == nullptr) return {};
  if (bytes > kHugePageBytes) ask_for_huge_pages(data + kHugePageBytes, bytes - kHugePageBytes);
  return {data, bytes};
}

MappedMemory::MappedMemory(MappedMemory&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

MappedMemory& MappedMemory::operator=(MappedMemory&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

MappedMemory::~MappedMemory() {
  unmap(data_, size_);
}

void MappedMemory::discard() {
  CHECK(::madvise(data_, size_, MADV_DONTNEED) == 0);
}

}  // namespace dynamo::router
