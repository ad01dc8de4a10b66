#include "hub/hub_core.h"

#include <algorithm>

#include <fmt/format.h>

#include "events/event_bus.h"
#include "hub/hub_protocol.h"

namespace dynamo::hub {
namespace {

using message::FromHub;
using message::Request;
using wire::FrameType;

void send(Peer* peer, std::string frame) {
  peer->queue.push(std::make_shared<const std::string>(std::move(frame)));
  peer->wake();
}

message::Outcome outcome_of(Code code) {
  switch (code) {
    case Code::kOk:
      return message::DONE;
    case Code::kExhausted:
      return message::REFUSED_FULL;
    case Code::kNotFound:
      return message::LEASE_UNKNOWN;
    default:
      return message::REFUSED_INVALID;
  }
}

// 0 if it acts on none.
LeaseId lease_of(const Request& request) {
  if (request.has_grant()) return request.grant().lease();
  if (request.has_revoke()) return request.revoke().lease();
  if (request.has_put()) return request.put().lease();
  return request.has_remove() ? request.remove().lease() : 0;
}

}  // namespace

HubCore::HubCore(HubLimits limits, uint64_t incarnation)
    : limits_(limits),
      incarnation_(incarnation),
      store_(limits.store_bytes,
             [this](const std::string& key, const std::string* value) { tell_change(key, value); }) {}

Peer* HubCore::add(std::function<void()> wake) {
  const HolderId id = ++last_peer_;
  return peers_.emplace(id, std::make_unique<Peer>(id, limits_.queued_bytes, std::move(wake))).first->second.get();
}

void HubCore::remove(Peer* peer) {
  store_.release(peer->id);
  peers_.erase(peer->id);
}

Status HubCore::receive(Peer* peer, const wire::Frame& frame, Time now) {
  if (frame.stream != 0) return corrupt("a frame on a stream other than 0");
  if (!peer->has_greeted) return greet(peer, frame);
  switch (frame.type) {
    case FrameType::kPing:
      send(peer, pong_frame());
      return {};
    case FrameType::kPong:
      return {};
    case FrameType::kRequest: {
      Request request;
      if (!request.ParseFromArray(frame.payload.data(), static_cast<int>(frame.payload.size())))
        return corrupt("a request that cannot be read");
      return handle(peer, request, now);
    }
    default:
      return corrupt(fmt::format("a frame of type {}, which clients do not send", static_cast<int>(frame.type)));
  }
}

Status HubCore::greet(Peer* peer, const wire::Frame& frame) {
  if (frame.type != FrameType::kHello) return corrupt("the first frame is no hello");
  send(peer, hello_frame(incarnation_));
  TRY_STATUS(read_hello(frame.payload, "client"));
  peer->has_greeted = true;
  return {};
}

Status HubCore::handle(Peer* peer, const Request& request, Time now) {
  message::Answer answer;
  switch (request.what_case()) {
    case Request::WHAT_NOT_SET:
      return corrupt("a request for nothing");
    case Request::kPublish:
      TRY_STATUS(check_subject(request.publish().subject()));
      if (request.publish().data().size() > events::kMaxMessageBytes) return invalid("an event of more than 1 MiB");
      publish(request.publish());
      break;
    case Request::kFlush:
      break;
    case Request::kWatch:
    case Request::kUnwatch:
    case Request::kSubscribe:
    case Request::kUnsubscribe:
      TRY_STATUS(handle_interest(peer, request));
      break;
    default:
      answer = act_on_keys(*peer, request, now);
  }
  if (request.id() == 0) return {};
  answer.set_id(request.id());
  FromHub reply;
  *reply.mutable_answer() = std::move(answer);
  send(peer, frame_of(reply));
  return {};
}

Status HubCore::handle_interest(Peer* peer, const Request& request) {
  if (request.has_unwatch()) {
    peer->watches.erase(request.unwatch().watch());
  } else if (request.has_unsubscribe()) {
    peer->subscriptions.erase(request.unsubscribe().subscription());
  } else if (request.has_watch()) {
    const message::Watch& watch = request.watch();
    if (watch.prefix().size() > kMaxKeyBytes) return invalid("a prefix that is longer than any key");
    if (peer->watches.size() >= kMaxInterests) return invalid("too many watches");
    if (!peer->watches.emplace(watch.watch(), watch.prefix()).second) return invalid("a watch's number is in use");
    send_view(peer, watch.watch(), watch.prefix());
  } else {
    const message::Subscribe& wanted = request.subscribe();
    TRY_STATUS(check_pattern(wanted.pattern()));
    if (peer->subscriptions.size() >= kMaxInterests) return invalid("too many subscriptions");
    if (!peer->subscriptions.emplace(wanted.subscription(), wanted.pattern()).second)
      return invalid("a subscription's number is in use");
  }
  return {};
}

message::Answer HubCore::act_on_keys(const Peer& peer, const Request& request, Time now) {
  message::Answer answer;
  Status status;
  if (store_.holder(lease_of(request)) > peer.id) {
    // Its client has come back by a later connection since, and what it said there counts, though this is read after it.
    status = not_found("the lease was taken over by a later connection");
  } else if (request.has_grant()) {
    const message::Grant& grant = request.grant();
    KeyStore::Keys wishes;
    for (const message::KeyValue& wish : grant.wishes()) wishes[wish.key()] = wish.value();
    status = store_.grant(grant.lease(), std::chrono::milliseconds(grant.time_to_live_ms()), peer.id, now, wishes);
  } else if (request.has_revoke()) {
    status = store_.revoke(request.revoke().lease());
  } else if (request.has_put()) {
    const message::Put& put = request.put();
    if (put.only_if_absent()) {
      const Result<bool> claimed = store_.claim(put.lease(), put.key(), put.value());
      answer.set_is_ours(claimed.is_ok() && *claimed);
      status = claimed.status();
    } else {
      status = store_.put(put.lease(), put.key(), put.value());
      answer.set_is_ours(status.is_ok());
    }
  } else if (request.has_remove()) {
    status = store_.remove(request.remove().lease(), request.remove().key());
  } else {
    for (const auto& [key, value] : store_.list(request.list().prefix())) {
      message::KeyValue& found = *answer.add_keys();
      found.set_key(key);
      found.set_value(value);
    }
  }
  answer.set_outcome(outcome_of(status.code()));
  answer.set_text(status.text());
  return answer;
}

void HubCore::publish(const message::Event& event) {
  SharedFrame frame;
  for (const auto& [id, peer] : peers_) {
    const bool is_wanted = std::ranges::any_of(
        peer->subscriptions, [&](const auto& one) { return events::matches(one.second, event.subject()); });
    if (!is_wanted) continue;
    if (!frame) {
      FromHub delivered;
      *delivered.mutable_event() = event;
      frame = std::make_shared<const std::string>(frame_of(delivered));
    }
    peer->queue.push_event(frame);
    peer->wake();
  }
}

void HubCore::send_view(Peer* peer, uint64_t watch, const std::string& prefix) {
  FromHub view;
  message::Changes& changes = *view.mutable_changes();
  changes.set_watch(watch);
  changes.set_is_whole_view(true);
  for (auto& [key, value] : store_.list(prefix)) {
    message::KeyChange& change = *changes.add_changes();
    change.set_key(key);
    change.set_value(value);
  }
  send(peer, frame_of(view));
}

void HubCore::tell_change(const std::string& key, const std::string* value) {
  for (const auto& [id, peer] : peers_) {
    for (const auto& [watch, prefix] : peer->watches) {
      if (!key.starts_with(prefix)) continue;
      FromHub told;
      message::Changes& changes = *told.mutable_changes();
      changes.set_watch(watch);
      message::KeyChange& change = *changes.add_changes();
      change.set_key(key);
      if (value) change.set_value(*value);
      send(peer.get(), frame_of(told));
    }
  }
}

void HubCore::tick(Time now, Duration stood_still) {
  if (stood_still > Duration::zero()) store_.postpone(stood_still);
  for (const KeyStore::Ended& ended : store_.expire(now)) {
    const auto holder = peers_.find(ended.holder);
    if (holder == peers_.end()) continue;
    FromHub told;
    told.mutable_lease_lost()->set_lease(ended.lease);
    send(holder->second.get(), frame_of(told));
  }
}

}  // namespace dynamo::hub
