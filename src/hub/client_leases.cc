// The leases of a hub client: what is wished, and how the hub is told.
#include <utility>

#include "base/log.h"
#include "base/random.h"
#include "hub/client_state.h"
#include "hub/hub_protocol.h"

namespace dynamo::hub {

using message::Answer;
using message::Request;

namespace {

constexpr std::chrono::seconds kRetryAfter{1};  // a lease whose keys the hub refused

}  // namespace

// A claim under way; shared with whoever waits for it.
struct ClientState::Claim {
  std::string key;
  std::string value;
  std::optional<Result<Answer>> answer;
  bool is_abandoned = false;  // nobody waits any more
};

uint64_t ClientState::open_lease(std::chrono::milliseconds time_to_live) {
  MutexLock lock(mutex_);
  const uint64_t id = random_bits();
  LeaseWish& lease = leases_[id];
  lease.time_to_live = time_to_live;
  if (link_.is_connected()) link_.send(grant_frame(id, &lease));
  return id;
}

void ClientState::end_lease(uint64_t id, Time until) {
  MutexLock lock(mutex_);
  leases_.erase(id);
  Request request;
  request.mutable_revoke()->set_lease(id);
  const auto is_answered = std::make_shared<bool>(false);
  const bool is_asked = ask(std::move(request), [this, is_answered](const Result<Answer>&) {
    *is_answered = true;
    changed_.notify_all();
  });
  if (is_asked) changed_.wait_until(mutex_, until, [&] { return *is_answered; });
}

std::string ClientState::grant_frame(uint64_t id, LeaseWish* lease) {
  Request request;
  message::Grant& grant = *request.mutable_grant();
  grant.set_lease(id);
  grant.set_time_to_live_ms(static_cast<uint32_t>(lease->time_to_live.count()));
  for (const auto& [key, value] : lease->keys) {
    message::KeyValue& wish = *grant.add_wishes();
    wish.set_key(key);
    wish.set_value(value);
  }
  lease->is_told = true;
  ++lease->unanswered;
  return frame_asking(std::move(request), on_lease_answer(id));
}

ClientState::OnAnswer ClientState::on_lease_answer(uint64_t id) {
  return [this, id](const Result<Answer>& answer) REQUIRES(mutex_) {
    const auto found = leases_.find(id);
    if (found == leases_.end()) return;
    LeaseWish& lease = found->second;
    --lease.unanswered;
    if (answer.is_ok() && answer->outcome() == message::DONE) lease.refusal.clear();
    // A lease that is unknown was lost; the hub has said so, and it is being granted anew.
    if (answer.is_ok() && answer->outcome() != message::DONE && answer->outcome() != message::LEASE_UNKNOWN) {
      if (lease.refusal != answer->text()) LOG(warn, "the hub refused keys", {"why", answer->text()});
      lease.refusal = answer->text();
      lease.is_told = false;
      lease.retry_at = Clock::steady().now() + kRetryAfter;
    }
    changed_.notify_all();
  };
}

void ClientState::put(uint64_t lease, std::string key, std::string value) {
  MutexLock lock(mutex_);
  LeaseWish& wish = leases_.at(lease);
  wish.keys[key] = std::move(value);
  tell_put(lease, &wish, key);
}

void ClientState::remove(uint64_t lease, const std::string& key) {
  MutexLock lock(mutex_);
  LeaseWish& wish = leases_.at(lease);
  if (wish.keys.erase(key) > 0) tell_remove(lease, &wish, key);
}

void ClientState::tell_put(uint64_t id, LeaseWish* lease, const std::string& key) {
  if (!lease->is_told) return;  // the next grant carries it
  Request request;
  request.mutable_put()->set_lease(id);
  request.mutable_put()->set_key(key);
  request.mutable_put()->set_value(lease->keys.at(key));
  if (ask(std::move(request), on_lease_answer(id))) ++lease->unanswered;
}

void ClientState::tell_remove(uint64_t id, LeaseWish* lease, const std::string& key) {
  if (!lease->is_told) return;
  Request request;
  request.mutable_remove()->set_lease(id);
  request.mutable_remove()->set_key(key);
  if (ask(std::move(request), on_lease_answer(id))) ++lease->unanswered;
}

Status ClientState::sync(uint64_t lease, Time until) {
  MutexLock lock(mutex_);
  const auto is_held = [&]() REQUIRES(mutex_) {
    const LeaseWish& wish = leases_.at(lease);
    return link_.is_connected() && wish.is_told && wish.unanswered == 0;
  };
  if (changed_.wait_until(mutex_, until, is_held)) return {};
  const std::string& refusal = leases_.at(lease).refusal;
  return refusal.empty() ? too_late() : deadline("the hub at " + link_.address().to_string() + " refused: " + refusal);
}

Result<bool> ClientState::claim(uint64_t lease, std::string key, std::string value, Time until) {
  MutexLock lock(mutex_);
  Request request;
  request.mutable_put()->set_lease(lease);
  request.mutable_put()->set_key(key);
  request.mutable_put()->set_value(value);
  request.mutable_put()->set_only_if_absent(true);
  const auto claim = std::make_shared<Claim>();
  claim->key = std::move(key);
  claim->value = std::move(value);
  do {
    const auto can_ask = [&]() REQUIRES(mutex_) { return link_.is_connected() && leases_.at(lease).is_told; };
    if (!changed_.wait_until(mutex_, until, can_ask)) return too_late();
  } while (!ask(request, [this, lease, claim](const Result<Answer>& answer)
                             REQUIRES(mutex_) { take_claim(lease, claim.get(), answer); }));
  if (!changed_.wait_until(mutex_, until, [&] { return claim->answer.has_value(); })) {
    claim->is_abandoned = true;
    return too_late();
  }
  TRY(const Answer answer, accepted(*claim->answer));
  return answer.is_ours();
}

void ClientState::take_claim(uint64_t lease, Claim* claim, const Result<Answer>& answer) {
  claim->answer = answer;
  changed_.notify_all();
  const auto found = leases_.find(lease);
  if (found == leases_.end() || !answer.is_ok() || !answer->is_ours()) return;
  LeaseWish& wish = found->second;
  if (!claim->is_abandoned) {
    wish.keys[claim->key] = claim->value;
  } else if (wish.keys.contains(claim->key)) {
    tell_put(lease, &wish, claim->key);
  } else {
    tell_remove(lease, &wish, claim->key);
  }
}

}  // namespace dynamo::hub
