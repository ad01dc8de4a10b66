// What is told over the event bus, as bytes: what workers hold and do, and what routers have in flight.
// Rules: docs/reference/events.md.  Threads: values and pure functions.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "kv/block_hash.h"
#include "kv/tier.h"

namespace dynamo::wire {

// Gained and lost by one event. One of a tier that this version does not know is read as one that changes nothing.
struct KvChange {
  kv::Tier tier = kv::Tier::kDevice;
  bool is_cleared = false;  // all blocks are gone; comes first
  std::vector<kv::BlockHash> stored{};
  std::vector<kv::BlockHash> removed{};
};
// Subject kv: what a worker's cache gained and lost, in order.
struct KvEvents {
  uint64_t instance = 0;
  uint64_t first_event = 0;  // number of changes[0]; the others follow without a gap. The first of an instance is 1.
  std::vector<KvChange> changes{};
};

// Subject load: a worker's heartbeat.
struct Heartbeat {
  uint64_t instance = 0;
  uint64_t last_event = 0;
  uint64_t digest = 0;  // wrapping sum of the BlockHashes on the device
  uint64_t blocks = 0;  // there
  uint32_t running = 0;
  uint32_t waiting = 0;
  bool is_full = false;  // those that wait do so for a place or for blocks, not for their turn in a step
  uint32_t used_blocks = 0;
  uint32_t cached_blocks = 0;
  uint32_t total_blocks = 0;
  uint64_t queued_tokens = 0;
  double prefill_tokens_per_second = 0;   // lately; 0: not known
  double transfer_tokens_per_second = 0;  // of KV, into other workers' pools, lately; 0: not known
};

// Subject router: what one router has in flight, told to the others.
struct RouterNotice {
  enum class Kind : uint8_t { kAdd, kPrefillDone, kFree };
  uint64_t router = 0;
  std::string request;
  uint64_t instance = 0;
  Kind kind = Kind::kAdd;
  uint32_t prefill_tokens = 0;
  uint32_t decode_blocks = 0;
  bool is_prefill = false;  // of a request whose prompt is computed at one worker and answered by another: the former
};

// Readers' errors: kCorrupt.
std::string to_bytes(const KvEvents& events);
Result<KvEvents> kv_events_from_bytes(std::string_view bytes);
std::string to_bytes(const Heartbeat& heartbeat);
Result<Heartbeat> heartbeat_from_bytes(std::string_view bytes);
std::string to_bytes(const RouterNotice& notice);
Result<RouterNotice> router_notice_from_bytes(std::string_view bytes);

}  // namespace dynamo::wire
