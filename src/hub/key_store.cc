#include "hub/key_store.h"

#include <fmt/format.h>

#include "hub/hub_protocol.h"

namespace dynamo::hub {
namespace {

constexpr std::chrono::seconds kMinTimeToLive{1};
constexpr std::chrono::hours kMaxTimeToLive{24};
constexpr size_t kEntryBytes = 64;

size_t cost_of(const std::string& key, const std::string& value) {
  return key.size() + value.size() + kEntryBytes;
}

Status check_key(const std::string& key) {
  if (key.empty() || key.size() > kMaxKeyBytes)
    return invalid(fmt::format("a key of {} bytes; between 1 and {} are taken", key.size(), kMaxKeyBytes));
  return {};
}

}  // namespace

Status KeyStore::grant(LeaseId id, Duration time_to_live, HolderId holder, Time now, const Keys& wishes) {
  if (id == 0) return invalid("lease 0 stands for no lease");
  if (time_to_live < kMinTimeToLive || time_to_live > kMaxTimeToLive)
    return invalid("a lease's time to live is between 1 s and 24 h");
  for (const auto& [key, value] : wishes) TRY_STATUS(check_key(key));
  Lease& lease = leases_[id];
  lease.time_to_live = time_to_live;
  lease.deadline = now + time_to_live;
  lease.holder = holder;
  size_t added = 0;
  size_t freed = 0;
  for (const auto& [key, value] : wishes) {
    added += cost_of(key, value);
    freed += cost_now(key);
  }
  const std::set<std::string> before = lease.keys;
  for (const std::string& key : before) freed += wishes.contains(key) ? 0 : cost_now(key);
  TRY_STATUS(check_room(added, freed));
  for (const std::string& key : before) {
    if (!wishes.contains(key)) erase(key);
  }
  for (const auto& [key, value] : wishes) set(id, key, value);
  return {};
}

Status KeyStore::revoke(LeaseId id) {
  const auto found = leases_.find(id);
  if (found == leases_.end()) return not_found("no such lease");
  const std::set<std::string> keys = found->second.keys;
  for (const std::string& key : keys) erase(key);
  leases_.erase(id);
  return {};
}

size_t KeyStore::cost_now(const std::string& key) const {
  const auto found = entries_.find(key);
  return found == entries_.end() ? 0 : cost_of(key, found->second.value);
}

Status KeyStore::check_room(size_t added, size_t freed) const {
  if (bytes_ + added <= max_bytes_ + freed) return {};
  return exhausted(fmt::format("the hub's store holds {} of at most {} bytes; no room for {} more", bytes_, max_bytes_,
                               added - freed));
}

Status KeyStore::check_put(LeaseId lease, const std::string& key, const std::string& value) const {
  if (lease != 0 && !leases_.contains(lease)) return not_found("no such lease");
  TRY_STATUS(check_key(key));
  return check_room(cost_of(key, value), cost_now(key));
}

Status KeyStore::put(LeaseId lease, const std::string& key, const std::string& value) {
  TRY_STATUS(check_put(lease, key, value));
  set(lease, key, value);
  return {};
}

Result<bool> KeyStore::claim(LeaseId lease, const std::string& key, const std::string& value) {
  TRY_STATUS(check_put(lease, key, value));
  const auto found = entries_.find(key);
  if (found != entries_.end() && (lease == 0 || found->second.lease != lease)) return false;
  set(lease, key, value);
  return true;
}

Status KeyStore::remove(LeaseId lease, const std::string& key) {
  if (lease != 0 && !leases_.contains(lease)) return not_found("no such lease");
  const auto found = entries_.find(key);
  if (found != entries_.end() && (lease == 0 || found->second.lease == lease)) erase(key);
  return {};
}

KeyStore::Keys KeyStore::list(std::string_view prefix) const {
  Keys found;
  for (auto at = entries_.lower_bound(prefix); at != entries_.end() && at->first.starts_with(prefix); ++at)
    found.emplace_hint(found.end(), at->first, at->second.value);
  return found;
}

void KeyStore::set(LeaseId lease, const std::string& key, const std::string& value) {
  const auto [at, is_new] = entries_.try_emplace(key);
  Entry& entry = at->second;
  const bool is_change = is_new || entry.value != value;
  if (!is_new) bytes_ -= cost_of(key, entry.value);
  bytes_ += cost_of(key, value);
  if (entry.lease != lease) {
    if (entry.lease != 0) leases_.at(entry.lease).keys.erase(key);
    if (lease != 0) leases_.at(lease).keys.insert(key);
    entry.lease = lease;
  }
  entry.value = value;
  if (is_change) on_change_(key, &entry.value);
}

void KeyStore::erase(const std::string& key) {
  const auto node = entries_.extract(key);
  if (node.empty()) return;
  const Entry& entry = node.mapped();
  bytes_ -= cost_of(node.key(), entry.value);
  if (entry.lease != 0) leases_.at(entry.lease).keys.erase(node.key());
  on_change_(node.key(), nullptr);
}

void KeyStore::renew(HolderId holder, Time heard) {
  for (auto& [id, lease] : leases_) {
    if (lease.holder == holder) lease.deadline = heard + lease.time_to_live;
  }
}

HolderId KeyStore::holder(LeaseId id) const {
  const auto found = leases_.find(id);
  return found == leases_.end() ? 0 : found->second.holder;
}

void KeyStore::release(HolderId holder) {
  for (auto& [id, lease] : leases_) {
    if (lease.holder == holder) lease.holder = 0;
  }
}

void KeyStore::postpone(Duration by) {
  for (auto& [id, lease] : leases_) lease.deadline += by;
}

std::vector<KeyStore::Ended> KeyStore::expire(Time now) {
  std::vector<Ended> ended;
  for (const auto& [id, lease] : leases_) {
    if (lease.deadline < now) ended.push_back({id, lease.holder});
  }
  for (const Ended& one : ended) CHECK(revoke(one.lease).is_ok());
  return ended;
}

}  // namespace dynamo::hub
