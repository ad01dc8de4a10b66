#include "router/replica_sync.h"

namespace dynamo::router {
namespace {

constexpr Duration kForeignLife = std::chrono::minutes(10);  // another router's request that never ended

}  // namespace

void ReplicaSync::tell_started(const FlightKey& key, uint64_t instance, uint64_t prefill_tokens,
                               uint64_t blocks) const {
  tell(wire::RouterNotice::Kind::kAdd, key, instance, prefill_tokens, blocks);
}

void ReplicaSync::tell_prefill_done(const FlightKey& key, uint64_t instance) const {
  tell(wire::RouterNotice::Kind::kPrefillDone, key, instance, 0, 0);
}

void ReplicaSync::tell_ended(const FlightKey& key, uint64_t instance) const {
  tell(wire::RouterNotice::Kind::kFree, key, instance, 0, 0);
}

void ReplicaSync::tell(wire::RouterNotice::Kind kind, const FlightKey& key, uint64_t instance, uint64_t prefill_tokens,
                       uint64_t blocks) const {
  if (!tell_) return;
  tell_(wire::to_bytes(wire::RouterNotice{.router = id_,
                                          .request = key.request,
                                          .instance = instance,
                                          .kind = kind,
                                          .prefill_tokens = static_cast<uint32_t>(prefill_tokens),
                                          .decode_blocks = static_cast<uint32_t>(blocks),
                                          .is_prefill = key.pool == Pool::kPrefill}));
}

void ReplicaSync::on_notice(const wire::RouterNotice& notice, WorkerTable* workers, Time now) {
  if (notice.router == id_) return;
  const FlightKey flight{notice.request, notice.is_prefill ? Pool::kPrefill : Pool::kDecode};
  const auto key = std::pair(notice.router, flight);
  const auto found = foreign_.find(key);
  const bool is_known = found != foreign_.end();
  switch (notice.kind) {
    case wire::RouterNotice::Kind::kAdd: {
      const auto worker = workers->find(notice.instance);
      if (!worker) return;
      if (is_known) workers->end(found->second.id, found->second.instance);
      const ActiveLoad::Id id = workers->start(worker.get(), notice.prefill_tokens, {});
      workers->grow(id, notice.instance, notice.decode_blocks);
      foreign_[key] = {id, notice.instance, now};
      break;
    }
    case wire::RouterNotice::Kind::kPrefillDone:
      if (is_known) workers->end_prefill(found->second.id, found->second.instance);
      break;
    case wire::RouterNotice::Kind::kFree:
      if (!is_known) break;
      workers->end(found->second.id, found->second.instance);
      foreign_.erase(found);
  }
  std::erase_if(foreign_, [&](const auto& one) {
    if (one.second.since + kForeignLife > now) return false;
    workers->end(one.second.id, one.second.instance);
    return true;
  });
}

}  // namespace dynamo::router
