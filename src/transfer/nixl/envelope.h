// What one end of the backend "nixl" tells its peers: its agent's metadata, and where its pool lies.
//   "dynNIXL1"  XXH3-64 of the rest  kind u8  device u32  address u64  bytes u64  name (u32 + text)  blob (u32 + bytes)
// Little-endian; the last character of the magic is the version.
// Threads: values and pure functions.  Private to the module.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/status.h"
#include "transfer/kv_transport.h"

namespace dynamo::transfer::nixl {

struct Envelope {
  std::string agent;  // the agent's name in NIXL
  MemoryKind kind = MemoryKind::kHost;
  uint32_t device = 0;
  uint64_t address = 0;  // of the pool, in its process
  uint64_t bytes = 0;
  std::string blob;  // NIXL's own metadata
};

std::string seal(const Envelope& envelope);
// Errors: kCorrupt (no envelope, one of another version, a damaged one).
Result<Envelope> unseal(std::string_view bytes);

}  // namespace dynamo::transfer::nixl
