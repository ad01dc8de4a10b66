#include "hub/client_state.h"

#include <utility>

#include "base/log.h"
#include "hub/hub_protocol.h"

namespace dynamo::hub {

using discovery::KeyView;
using message::Answer;
using message::Request;

Result<Answer> accepted(const Result<Answer>& answer) {
  if (!answer.is_ok()) return answer.status();
  switch (answer->outcome()) {
    case message::DONE:
      return answer;
    case message::REFUSED_FULL:
      return exhausted(answer->text());
    case message::LEASE_UNKNOWN:
      return unavailable("the lease ran out and is being renewed");
    default:
      return invalid(answer->text());
  }
}

ClientState::ClientState(HubClientOptions options, HostPort address)
    : options_(std::move(options)), link_(std::move(address), this) {}

std::string ClientState::frame_asking(Request request, OnAnswer on_answer) {
  request.set_id(++last_number_);
  waiting_.emplace(last_number_, std::move(on_answer));
  return frame_of(request);
}

bool ClientState::ask(Request request, OnAnswer on_answer) {
  if (!link_.is_connected()) return false;
  if (link_.send(frame_asking(std::move(request), std::move(on_answer)))) return true;
  waiting_.erase(last_number_);
  return false;
}

Status ClientState::too_late() const {
  return deadline("the hub at " + link_.trouble());
}

Result<Answer> ClientState::call(Request request, bool may_repeat, Time until) {
  using Reply = std::optional<Result<Answer>>;
  MutexLock lock(mutex_);
  for (;;) {
    const auto reply = std::make_shared<Reply>();
    const bool is_asked = ask(request, [this, reply](const Result<Answer>& answer) {
      *reply = answer;
      changed_.notify_all();
    });
    if (is_asked) {
      if (!changed_.wait_until(mutex_, until, [&] { return reply->has_value(); })) return too_late();
      if ((*reply)->is_ok() || !may_repeat) return accepted(**reply);
    }
    if (!changed_.wait_until(mutex_, until, [this] { return link_.is_connected(); }))
      return unavailable(too_late().text());
  }
}

uint64_t ClientState::open_watch(std::string prefix, std::shared_ptr<ChangesListener> listener) {
  MutexLock lock(mutex_);
  const uint64_t id = ++last_number_;
  Request request;
  request.mutable_watch()->set_watch(id);
  request.mutable_watch()->set_prefix(prefix);
  watches_[id] = {std::move(prefix), {}, std::move(listener)};
  link_.send(frame_of(request));
  return id;
}

void ClientState::end_watch(uint64_t id) {
  MutexLock lock(mutex_);
  watches_.erase(id);
  Request request;
  request.mutable_unwatch()->set_watch(id);
  link_.send(frame_of(request));
}

uint64_t ClientState::open_subscription(std::string pattern, events::DeliveryQueue* queue) {
  MutexLock lock(mutex_);
  const uint64_t id = ++last_number_;
  Request request;
  request.mutable_subscribe()->set_subscription(id);
  request.mutable_subscribe()->set_pattern(pattern);
  subscriptions_[id] = {std::move(pattern), queue};
  link_.send(frame_of(request));
  return id;
}

void ClientState::end_subscription(uint64_t id) {
  MutexLock lock(mutex_);
  subscriptions_.erase(id);
  Request request;
  request.mutable_unsubscribe()->set_subscription(id);
  link_.send(frame_of(request));
}

void ClientState::on_connected(uint64_t incarnation) {
  MutexLock lock(mutex_);
  if (incarnation_ && *incarnation_ != incarnation) settle_at_ = Clock::steady().now() + options_.settle_time;
  incarnation_ = incarnation;
  std::vector<std::string> frames;
  for (auto& [id, lease] : leases_) frames.push_back(grant_frame(id, &lease));
  for (const auto& [id, watch] : watches_) {
    Request request;
    request.mutable_watch()->set_watch(id);
    request.mutable_watch()->set_prefix(watch.prefix);
    frames.push_back(frame_of(request));
  }
  for (const auto& [id, subscription] : subscriptions_) {
    Request request;
    request.mutable_subscribe()->set_subscription(id);
    request.mutable_subscribe()->set_pattern(subscription.pattern);
    frames.push_back(frame_of(request));
  }
  link_.begin(std::move(frames));
  changed_.notify_all();
}

void ClientState::on_lost(const Status& why) {
  MutexLock lock(mutex_);
  for (auto& [id, lease] : leases_) lease.is_told = false;
  const auto waiting = std::exchange(waiting_, {});
  const Result<Answer> none = unavailable("the connection to the hub broke: " + why.text());
  for (const auto& [id, on_answer] : waiting) on_answer(none);
  changed_.notify_all();
}

void ClientState::on_tick(Time now) {
  MutexLock lock(mutex_);
  for (auto& [id, lease] : leases_) {
    if (!lease.is_told && now >= lease.retry_at) link_.send(grant_frame(id, &lease));
  }
  if (!settle_at_ || now < *settle_at_) return;
  settle_at_.reset();
  for (auto& [id, watch] : watches_) {
    KeyView::Changes gone = watch.view.settle();
    if (!gone.empty()) tell(watch, std::move(gone));
  }
}

void ClientState::on_message(message::FromHub message) {
  using message::FromHub;
  MutexLock lock(mutex_);
  switch (message.what_case()) {
    case FromHub::kAnswer:
      take_answer(message.answer());
      break;
    case FromHub::kChanges:
      take_changes(message.changes());
      break;
    case FromHub::kEvent:
      take_event(message.event());
      break;
    case FromHub::kDropped:
      dropped_ += message.dropped().events();
      break;
    case FromHub::kLeaseLost: {
      const auto found = leases_.find(message.lease_lost().lease());
      if (found != leases_.end()) link_.send(grant_frame(found->first, &found->second));
      break;
    }
    case FromHub::WHAT_NOT_SET:
      LOG(warn, "the hub sent a message that this program does not know");
  }
}

void ClientState::take_answer(const Answer& answer) {
  const auto node = waiting_.extract(answer.id());
  if (!node.empty()) node.mapped()(answer);
}

void ClientState::take_changes(const message::Changes& changes) {
  const auto found = watches_.find(changes.watch());
  if (found == watches_.end()) return;  // ended meanwhile
  WatchWish& watch = found->second;
  if (changes.is_whole_view()) {
    KeyView::Keys keys;
    for (const message::KeyChange& change : changes.changes()) keys[change.key()] = change.value();
    auto difference = watch.view.replace(keys, settle_at_ ? KeyView::Missing::kKept : KeyView::Missing::kGone);
    if (difference) tell(watch, std::move(*difference));
    return;
  }
  KeyView::Changes told;
  for (const message::KeyChange& one : changes.changes()) {
    discovery::KeyChange change{one.key(), std::nullopt};
    if (one.has_value()) change.value = one.value();
    if (watch.view.apply(change)) told.push_back(std::move(change));
  }
  if (!told.empty()) tell(watch, std::move(told));
}

void ClientState::tell(const WatchWish& watch, KeyView::Changes changes) {
  changes_delivery_.post([listener = watch.listener, changes = std::move(changes)] { listener->call(changes); });
}

void ClientState::take_event(const message::Event& event) {
  for (const auto& [id, subscription] : subscriptions_) {
    if (events::matches(subscription.pattern, event.subject())) subscription.queue->push(event.subject(), event.data());
  }
}

}  // namespace dynamo::hub
