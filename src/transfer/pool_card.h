// What an end tells about its pool before blocks move: whether two pools hold the same thing, and which bytes go where.
//
//   u32 "DKVP" | u32 version | text model digest | u32 layers, kv_heads, head_dim, block_tokens | u8 dtype | u32 tp size, tp rank |
//   u64 block bytes, block count | text host | u32 backends, each text name, text metadata | u64 XXH3      (transfer/byte_record.h)
//
// With tensor parallelism every rank has its own pool and card, and holds kv_heads heads from tp_rank * kv_heads on.
// Threads: values and pure functions.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "kv/kv_layout.h"
#include "transfer/kv_transport.h"

namespace dynamo::transfer {

struct PoolCard {
  static constexpr uint32_t kVersion = 1;

  std::string model_digest;  // of the weights and of all else that the bytes of a block follow from
  kv::KvLayout layout;       // of this rank: its own heads
  uint32_t tp_size = 1;
  uint32_t tp_rank = 0;
  uint64_t block_bytes = 0;
  uint64_t block_count = 0;
  std::string host;                             // this_host()
  std::map<std::string, std::string> backends;  // name -> KvTransport::metadata()

  bool operator==(const PoolCard&) const = default;

  std::string to_bytes() const;
  // Errors: kCorrupt (cut, changed, another version: both are named, or fields that cannot be).
  static Result<PoolCard> parse(std::string_view bytes);
};

// Whether blocks can go from one to the other. Head counts may differ if all ranks together have the same.
// Errors: kInvalid, names the first difference with both values.
Status check_compatible(const PoolCard& mine, const PoolCard& theirs);

struct BlockPair {
  uint32_t local = 0;
  uint32_t remote = 0;
};

// What to put for these blocks: each whole if both hold the same heads, neighbours on both sides in one copy; else the heads that both
// hold, a copy for K and V of each layer; nothing if they have no head in common. Requires: check_compatible(mine, theirs).
std::vector<Copy> copies_of(const PoolCard& mine, const PoolCard& theirs, std::span<const BlockPair> pairs);

// The backends that both have and that connect their hosts, fastest first: all for "auto", else the one that is wanted ("shm", "tcp",
// "nixl"). Shm only within one host.
std::vector<std::string_view> backends_between(const PoolCard& mine, const PoolCard& theirs, std::string_view wanted);

}  // namespace dynamo::transfer
