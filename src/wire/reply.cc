#include "wire/reply.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "wire/messages.pb.h"
#include "wire/parse.h"
#include "wire/status.h"

namespace dynamo::wire {
namespace {

using Hashes = google::protobuf::RepeatedField<uint64_t>;

constexpr size_t kMostSnapshotBlocks = 1U << 28;  // of each tier

// Returns: false if those are too many.
bool append(const Hashes& blocks, std::vector<kv::BlockHash>* to) {
  for (const uint64_t bits : blocks) to->push_back({bits});
  return to->size() <= kMostSnapshotBlocks;
}

uint64_t microseconds(Duration time) {
  return static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::microseconds>(time).count());
}

// What a stranger says, as far as it can be meant.
Duration time_of(uint64_t microseconds) {
  constexpr uint64_t kYear = 365ULL * 24 * 3600 * 1'000'000;
  return std::chrono::microseconds(std::min(microseconds, kYear));
}

}  // namespace

std::string prefill_reply(const Result<PrefillReport>& report) {
  proto::PrefillReply reply;
  if (!report.is_ok()) {
    reply.set_failure(to_bytes(report.status()));
    return reply.SerializeAsString();
  }
  reply.set_cached_tokens(report->cached_tokens);
  reply.set_blocks(report->blocks);
  reply.set_bytes(report->bytes);
  reply.set_queue_us(microseconds(report->queue));
  reply.set_compute_us(microseconds(report->compute));
  reply.set_transfer_us(microseconds(report->transfer));
  reply.set_overlap_us(microseconds(report->overlap));
  reply.set_backend(report->backend);
  return reply.SerializeAsString();
}

Status read_prefill_reply(std::string_view bytes, Result<PrefillReport>* report) {
  proto::PrefillReply reply;
  if (!parse(bytes, &reply)) return corrupt("a reply that cannot be read");
  if (!reply.failure().empty()) {
    *report = failure_from_bytes(reply.failure());
    return {};
  }
  PrefillReport said;
  said.cached_tokens = reply.cached_tokens();
  said.blocks = reply.blocks();
  said.bytes = reply.bytes();
  said.queue = time_of(reply.queue_us());
  said.compute = time_of(reply.compute_us());
  said.transfer = time_of(reply.transfer_us());
  said.overlap = time_of(reply.overlap_us());
  said.backend = reply.backend();
  *report = std::move(said);
  return {};
}

std::string role_reply(const Result<std::string>& name) {
  proto::RoleReply reply;
  if (name.is_ok()) {
    reply.set_name(*name);
  } else {
    reply.set_failure(to_bytes(name.status()));
  }
  return reply.SerializeAsString();
}

Result<std::string> read_role_reply(std::string_view bytes) {
  proto::RoleReply reply;
  if (!parse(bytes, &reply)) return corrupt("a reply that cannot be read");
  if (!reply.failure().empty()) return failure_from_bytes(reply.failure());
  return reply.name();
}

std::string snapshot_part(uint64_t last_event, kv::Tier tier, std::span<const kv::BlockHash> blocks) {
  proto::BlockSnapshot part;
  part.set_last_event(last_event);
  Hashes* to = part.mutable_blocks();
  if (tier != kv::Tier::kDevice) {
    proto::TierBlocks& lower = *part.add_lower();
    lower.set_tier(static_cast<uint32_t>(tier));
    to = lower.mutable_blocks();
  }
  to->Reserve(static_cast<int>(blocks.size()));
  for (const kv::BlockHash& block : blocks) to->Add(block.bits);
  return part.SerializeAsString();
}

std::string snapshot_end(uint64_t last_event, uint64_t digest) {
  proto::BlockSnapshot part;
  part.set_last_event(last_event);
  part.set_is_last(true);
  part.set_digest(digest);
  return part.SerializeAsString();
}

Result<bool> SnapshotReader::take(std::string_view bytes) {
  proto::BlockSnapshot part;
  if (!parse(bytes, &part)) return corrupt("a snapshot that cannot be read");
  if (!std::exchange(is_first_, false) && part.last_event() != snapshot_.last_event)
    return corrupt("a snapshot whose parts are of different times");
  snapshot_.last_event = part.last_event();
  for (const uint64_t block : part.blocks()) sum_ += block;
  bool fits = append(part.blocks(), &snapshot_.held[kv::Tier::kDevice]);
  for (const proto::TierBlocks& lower : part.lower())
    if (const auto tier = kv::lower_tier(lower.tier())) fits = append(lower.blocks(), &snapshot_.held[*tier]) && fits;
  if (!fits) return corrupt("a snapshot of too many blocks");
  if (part.is_last() && sum_ != part.digest()) return corrupt("a snapshot whose sum is wrong");
  return part.is_last();
}

}  // namespace dynamo::wire
