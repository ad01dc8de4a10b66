#include "worker/membership.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "base/instance_id.h"
#include "base/log.h"
#include "discovery/keys.h"

namespace dynamo::worker {
namespace {

using discovery::Role;
using discovery::WorkerInstance;

constexpr uint32_t kMostNames = 1U << 20;
constexpr Duration kAwayLimit = std::chrono::seconds(60);  // of a registry, while a name is claimed
constexpr Duration kAwayPause = std::chrono::milliseconds(200);
constexpr Duration kAnnounceLimit = std::chrono::seconds(10);
constexpr Duration kGoodbyeLimit = std::chrono::seconds(1);
constexpr Duration kTurnPause = std::chrono::milliseconds(20);  // before another one's turn is looked at again

std::string name_of(Role role, uint32_t number) {
  const bool is_plain = role == Role::kAggregated;
  return fmt::format("{}worker-{}", is_plain ? "" : fmt::format("{}-", discovery::role_name(role)), number);
}

Time soon() {
  return Clock::steady().now() + kAnnounceLimit;
}

}  // namespace

Membership::Membership(discovery::Registry* registry, std::string name_space, WorkerInstance self,
                       std::chrono::seconds lease_time)
    : registry_(registry), name_space_(std::move(name_space)), lease_(registry->lease(lease_time)) {
  MutexLock lock(mutex_);
  self_ = std::move(self);
}

WorkerInstance Membership::instance() const {
  MutexLock lock(mutex_);
  return self_;
}

Status Membership::claim_name(Time until) {
  const Role role = instance().role;
  TRY(number_, claim_number(role, until));
  MutexLock lock(mutex_);
  self_.name = name_of(role, number_);
  return {};
}

Result<uint32_t> Membership::claim_number(Role role, Time until) {
  until = std::min(until, Clock::steady().now() + kAwayLimit);
  for (bool has_told = false;;) {
    auto number = try_to_claim(role, until);
    if (number.is_ok() || number.status().code() != Code::kUnavailable || Clock::steady().now() + kAwayPause >= until)
      return number;
    if (!std::exchange(has_told, true))
      LOG(info, "waiting for the registry, for a name", {"why", number.status().to_string()});
    if (!pause(kAwayPause)) return number;
  }
}

Result<uint32_t> Membership::try_to_claim(Role role, Time until) {
  const std::string prefix = discovery::names_prefix(name_space_, role);
  const std::string owner = instance_text(instance().instance);
  TRY(const auto taken, registry_->list(prefix, until));
  for (uint32_t number = 1; number < kMostNames; ++number) {
    const std::string key = discovery::name_key(name_space_, role, number);
    if (taken.contains(key)) continue;
    TRY(const bool is_ours, lease_->claim(key, owner, until));
    if (is_ours) return number;
  }
  return exhausted("no name is free under " + prefix);
}

Status Membership::announce(WorkerInstance self, Time until) {
  TRY_STATUS(discovery::check(self).with("announcing the worker"));
  put(self);
  {
    MutexLock lock(mutex_);
    self_ = std::move(self);
  }
  return lease_->sync(until).with("announcing the worker");
}

void Membership::put(const WorkerInstance& self) {
  lease_->put(discovery::worker_key(name_space_, self), discovery::to_json(self));
}

// A key that merely goes is no goodbye: a store may lose it.
void Membership::say_goodbye() {
  WorkerInstance leaving = instance();
  leaving.is_leaving = true;
  put(leaving);
}

void Membership::stay() {
  put(instance());
}

// (A worker that loses its lease, and the claim of its turn with it, is not seen by others either.)
Status Membership::leave_role(Role to) {
  const Time until = soon();
  const bool answers_no_more = to == Role::kPrefill;
  const std::string turn = discovery::role_turn_key(name_space_, instance().model);
  Status status;
  if (answers_no_more) status = claim_turn(turn, until);
  if (status.is_ok() && answers_no_more) status = check_others_answer(until);
  if (status.is_ok()) {
    say_goodbye();
    status = lease_->sync(until).with("leaving the old role");
  }
  if (answers_no_more) lease_->remove(turn);  // also of a claim of which nothing is known
  if (!status.is_ok()) stay();
  return status;
}

Status Membership::claim_turn(const std::string& key, Time until) {
  const WorkerInstance self = instance();
  for (;;) {
    TRY(const bool is_ours, lease_->claim(key, instance_text(self.instance), until));
    if (is_ours) return {};
    if (Clock::steady().now() >= until || !pause(kTurnPause))
      return unavailable(
          fmt::format("another worker of '{}' is leaving its role (it holds the key {}); try again", self.model, key));
  }
}

// Of the same model, as frontends tell them apart.
Status Membership::check_others_answer(Time until) const {
  const WorkerInstance self = instance();
  TRY(const auto keys, registry_->list(discovery::workers_prefix(name_space_), until));
  std::string others;
  for (const auto& [key, value] : keys) {
    const auto other = discovery::worker_from_json(value);
    if (!other.is_ok() || discovery::worker_key(name_space_, *other) != key || other->model != self.model ||
        other->instance == self.instance)
      continue;
    const bool is_alike = other->model_digest == self.model_digest && other->block_tokens == self.block_tokens;
    if (is_alike && !other->is_leaving && other->role != Role::kPrefill) return {};
    others += fmt::format("{}{} ({}{})", others.empty() ? "" : ", ", other->name, discovery::role_name(other->role),
                          other->is_leaving ? ", leaving"
                          : is_alike        ? ""
                                            : ", of another model or block size");
  }
  return invalid(fmt::format(
      "this worker is the last that answers for '{}'; others: {}. Start one that answers, or let another change to "
      "decode first (dynamo ctl role WORKER decode)",
      self.model, others.empty() ? "none" : others));
}

Status Membership::take_role(Role role) {
  const WorkerInstance before = instance();
  const auto number = claim_number(role, soon());
  if (!number.is_ok()) {
    stay();
    return number.status();
  }
  WorkerInstance now = before;
  now.role = role;
  now.name = name_of(role, *number);
  lease_->remove(discovery::name_key(name_space_, before.role, std::exchange(number_, *number)));
  lease_->remove(discovery::worker_key(name_space_, before));
  return announce(std::move(now), soon()).with("in its new role");
}

void Membership::stop_waiting() {
  MutexLock lock(mutex_);
  is_stopping_ = true;
  stopping_.notify_all();
}

bool Membership::pause(Duration time) {
  MutexLock lock(mutex_);
  return !stopping_.wait_for(mutex_, time, [this]() REQUIRES(mutex_) { return is_stopping_; });
}

// Routers see it go before it refuses.
void Membership::leave() {
  if (lease_ && !instance().address.empty() && registry_->is_connected()) {
    say_goodbye();
    static_cast<void>(lease_->sync(Clock::steady().now() + kGoodbyeLimit));
  }
  lease_.reset();
}

}  // namespace dynamo::worker
