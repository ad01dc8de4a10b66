// What a worker answers on the request plane, but pieces of generated text (wire/chunk.h), as bytes.
// Threads: values; a SnapshotReader belongs to one reader.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "generate/prefill_order.h"
#include "kv/block_hash.h"
#include "kv/tier.h"

namespace dynamo::wire {

std::string prefill_reply(const Result<PrefillReport>& report);
// Errors: kCorrupt (it cannot be read); what the other side reports, a failure too, is in `report`.
Status read_prefill_reply(std::string_view bytes, Result<PrefillReport>* report);

// The worker's name in its new role, or why it has none.
std::string role_reply(const Result<std::string>& name);
// Errors: kCorrupt (it cannot be read), what the worker says.
Result<std::string> read_role_reply(std::string_view bytes);

// The blocks that a worker holds, as of one event.
struct BlockSnapshot {
  uint64_t last_event = 0;
  kv::PerTier<std::vector<kv::BlockHash>> held;
};

// A part of one: some of the blocks of a tier.
std::string snapshot_part(uint64_t last_event, kv::Tier tier, std::span<const kv::BlockHash> blocks);
// What comes behind all parts. `digest`: the wrapping sum of the blocks on the device.
std::string snapshot_end(uint64_t last_event, uint64_t digest);

// Puts parts together again; tiers that this version does not know are passed over.
class SnapshotReader {
 public:
  // Returns: whether that was the end. Errors: kCorrupt (it cannot be read, parts of different times, a wrong sum, too
  // many blocks); nothing is to be read after it.
  Result<bool> take(std::string_view bytes);
  BlockSnapshot snapshot() && { return std::move(snapshot_); }

 private:
  bool is_first_ = true;
  BlockSnapshot snapshot_;
  uint64_t sum_ = 0;  // of the device's blocks
};

}  // namespace dynamo::wire
