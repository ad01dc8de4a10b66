#include "hub/hub_client.h"

#include <utility>

#include "base/check.h"
#include "hub/client_state.h"
#include "hub/hub_protocol.h"

namespace dynamo::hub {
namespace {

using message::Answer;
using message::Request;

constexpr std::chrono::seconds kMinTimeToLive{2};
constexpr std::chrono::seconds kFarewell{2};  // for the hub to take the end of a lease

class HubLease final : public discovery::Lease {
 public:
  HubLease(ClientState* state, std::chrono::seconds time_to_live)
      : state_(state), id_(state->open_lease(time_to_live)) {}
  ~HubLease() override { state_->end_lease(id_, Clock::steady().now() + kFarewell); }

  void put(std::string key, std::string value) override { state_->put(id_, std::move(key), std::move(value)); }
  void remove(std::string key) override { state_->remove(id_, key); }
  Result<bool> claim(std::string key, std::string value, Time until) override {
    return state_->claim(id_, std::move(key), std::move(value), until);
  }
  Status sync(Time until) override { return state_->sync(id_, until); }

 private:
  ClientState* const state_;
  const uint64_t id_;
};

class HubWatch final : public discovery::Watch {
 public:
  HubWatch(ClientState* state, std::string prefix, discovery::OnChanges on_changes)
      : state_(state),
        listener_(std::make_shared<ChangesListener>(std::move(on_changes))),
        id_(state->open_watch(std::move(prefix), listener_)) {}
  ~HubWatch() override {
    state_->end_watch(id_);
    listener_->close();
  }

 private:
  ClientState* const state_;
  const std::shared_ptr<ChangesListener> listener_;
  const uint64_t id_;
};

class HubSubscription final : public events::Subscription {
 public:
  HubSubscription(ClientState* state, std::string pattern, events::OnMessage on_message)
      : state_(state),
        queue_(std::move(on_message), state->undelivered()),
        id_(state->open_subscription(std::move(pattern), &queue_)) {}
  ~HubSubscription() override { state_->end_subscription(id_); }  // the queue ends after it

 private:
  ClientState* const state_;
  events::DeliveryQueue queue_;
  const uint64_t id_;
};

}  // namespace

HubClient::HubClient(std::unique_ptr<ClientState> state) : state_(std::move(state)) {}
HubClient::~HubClient() = default;

Result<std::unique_ptr<HubClient>> HubClient::connect(HubClientOptions options, Time until) {
  TRY(HostPort address, HostPort::parse(options.address));
  auto state = std::make_unique<ClientState>(std::move(options), std::move(address));
  state->link().start();
  TRY_STATUS(state->link().wait_for_first(until));
  return std::unique_ptr<HubClient>(new HubClient(std::move(state)));
}

std::unique_ptr<discovery::Lease> HubClient::lease(std::chrono::seconds time_to_live) {
  CHECK(time_to_live >= kMinTimeToLive);
  return std::make_unique<HubLease>(state_.get(), time_to_live);
}

std::unique_ptr<discovery::Watch> HubClient::watch(std::string prefix, discovery::OnChanges on_changes) {
  CHECK(prefix.size() <= kMaxKeyBytes);
  return std::make_unique<HubWatch>(state_.get(), std::move(prefix), std::move(on_changes));
}

Result<std::map<std::string, std::string>> HubClient::list(std::string prefix, Time until) {
  Request request;
  request.mutable_list()->set_prefix(std::move(prefix));
  TRY(const Answer answer, state_->call(std::move(request), /*may_repeat=*/true, until));
  std::map<std::string, std::string> keys;
  for (const message::KeyValue& found : answer.keys()) keys[found.key()] = found.value();
  return keys;
}

Status HubClient::write(std::string key, std::optional<std::string> value, Time until) {
  Request request;
  if (value) {
    request.mutable_put()->set_key(std::move(key));
    request.mutable_put()->set_value(std::move(*value));
  } else {
    request.mutable_remove()->set_key(std::move(key));
  }
  return state_->call(std::move(request), /*may_repeat=*/true, until).status();
}

void HubClient::publish(std::string_view subject, std::string_view data) {
  CHECK(data.size() <= events::kMaxMessageBytes);
  CHECK(check_subject(subject).is_ok());
  state_->link().send_event(subject, data);
}

std::unique_ptr<events::Subscription> HubClient::subscribe(std::string pattern, events::OnMessage on_message) {
  CHECK(check_pattern(pattern).is_ok());
  return std::make_unique<HubSubscription>(state_.get(), std::move(pattern), std::move(on_message));
}

Status HubClient::flush(Time until) {
  Request request;
  request.mutable_flush();
  return state_->call(std::move(request), /*may_repeat=*/false, until).status();
}

uint64_t HubClient::dropped() const {
  return state_->dropped();
}

bool HubClient::is_connected() const {
  return state_->link().is_connected();
}

}  // namespace dynamo::hub
