// Memory that bytes lie in: on which kind of device, and how another process reaches it.
// Threads: values.
#pragma once

#include <cstddef>
#include <cstdint>

namespace dynamo {

enum class MemoryKind : uint8_t { kHost, kCuda };

// A view; who owns the memory says how long it is valid.
struct Memory {
  std::byte* data = nullptr;  // an address of its device; only kHost may be read here
  size_t bytes = 0;
  MemoryKind kind = MemoryKind::kHost;
  int device = 0;  // kCuda: which one
  int fd =
      -1;  // all of it from offset 0, for other processes of this host: a memfd, or what a device exports; -1: none
};

}  // namespace dynamo
