#include "wire/bus_messages.h"

#include "wire/messages.pb.h"
#include "wire/parse.h"

namespace dynamo::wire {
namespace {

using Hashes = google::protobuf::RepeatedField<uint64_t>;

void put(const std::vector<kv::BlockHash>& hashes, Hashes* out) {
  out->Reserve(static_cast<int>(hashes.size()));
  for (const kv::BlockHash& hash : hashes) out->Add(hash.bits);
}

std::vector<kv::BlockHash> hashes_of(const Hashes& from) {
  std::vector<kv::BlockHash> hashes;
  hashes.reserve(static_cast<size_t>(from.size()));
  for (const uint64_t bits : from) hashes.push_back({bits});
  return hashes;
}

}  // namespace

std::string to_bytes(const KvEvents& events) {
  proto::KvEvents message;
  message.set_instance(events.instance);
  message.set_first_event(events.first_event);
  for (const KvChange& change : events.changes) {
    proto::KvChange* one = message.add_events();
    if (change.tier != kv::Tier::kDevice) {
      proto::TierChange* lower = one->mutable_lower();
      lower->set_tier(static_cast<uint32_t>(change.tier));
      one = lower->mutable_change();
    }
    put(change.stored, one->mutable_stored());
    put(change.removed, one->mutable_removed());
    one->set_is_cleared(change.is_cleared);
  }
  return message.SerializeAsString();
}

Result<KvEvents> kv_events_from_bytes(std::string_view bytes) {
  proto::KvEvents message;
  if (!parse(bytes, &message)) return corrupt("events of a cache that cannot be read");
  KvEvents events;
  events.instance = message.instance();
  events.first_event = message.first_event();
  events.changes.reserve(static_cast<size_t>(message.events_size()));
  for (const proto::KvChange& one : message.events()) {
    KvChange& change = events.changes.emplace_back();
    if (one.has_lower()) {
      const auto tier = kv::lower_tier(one.lower().tier());
      if (!tier) continue;
      change.tier = *tier;
    }
    const proto::KvChange& told = one.has_lower() ? one.lower().change() : one;
    change.is_cleared = told.is_cleared();
    change.stored = hashes_of(told.stored());
    change.removed = hashes_of(told.removed());
  }
  return events;
}

std::string to_bytes(const Heartbeat& heartbeat) {
  proto::Heartbeat message;
  message.set_instance(heartbeat.instance);
  message.set_last_event(heartbeat.last_event);
  message.set_digest(heartbeat.digest);
  message.set_blocks(heartbeat.blocks);
  message.set_running(heartbeat.running);
  message.set_waiting(heartbeat.waiting);
  message.set_is_full(heartbeat.is_full);
  message.set_used_blocks(heartbeat.used_blocks);
  message.set_cached_blocks(heartbeat.cached_blocks);
  message.set_total_blocks(heartbeat.total_blocks);
  message.set_queued_tokens(heartbeat.queued_tokens);
  message.set_prefill_tokens_per_second(heartbeat.prefill_tokens_per_second);
  message.set_transfer_tokens_per_second(heartbeat.transfer_tokens_per_second);
  return message.SerializeAsString();
}

Result<Heartbeat> heartbeat_from_bytes(std::string_view bytes) {
  proto::Heartbeat message;
  if (!parse(bytes, &message)) return corrupt("a heartbeat that cannot be read");
  return Heartbeat{.instance = message.instance(),
                   .last_event = message.last_event(),
                   .digest = message.digest(),
                   .blocks = message.blocks(),
                   .running = message.running(),
                   .waiting = message.waiting(),
                   .is_full = message.is_full(),
                   .used_blocks = message.used_blocks(),
                   .cached_blocks = message.cached_blocks(),
                   .total_blocks = message.total_blocks(),
                   .queued_tokens = message.queued_tokens(),
                   .prefill_tokens_per_second = message.prefill_tokens_per_second(),
                   .transfer_tokens_per_second = message.transfer_tokens_per_second()};
}

std::string to_bytes(const RouterNotice& notice) {
  proto::RouterNotice message;
  message.set_router(notice.router);
  message.set_request(notice.request);
  message.set_instance(notice.instance);
  message.set_kind(static_cast<proto::RouterNotice::Kind>(notice.kind));
  message.set_prefill_tokens(notice.prefill_tokens);
  message.set_decode_blocks(notice.decode_blocks);
  message.set_is_prefill(notice.is_prefill);
  return message.SerializeAsString();
}

Result<RouterNotice> router_notice_from_bytes(std::string_view bytes) {
  proto::RouterNotice message;
  if (!parse(bytes, &message) || !proto::RouterNotice::Kind_IsValid(message.kind()))
    return corrupt("a router's notice that cannot be read");
  return RouterNotice{.router = message.router(),
                      .request = message.request(),
                      .instance = message.instance(),
                      .kind = static_cast<RouterNotice::Kind>(message.kind()),
                      .prefill_tokens = message.prefill_tokens(),
                      .decode_blocks = message.decode_blocks(),
                      .is_prefill = message.is_prefill()};
}

}  // namespace dynamo::wire
