// What a hub client wishes for and waits for, and how the hub is told: again in full after each outage.
//
// Threads: methods from any; the link's thread calls those of HubLink::Owner. One mutex guards everything; callbacks of users run on
// the delivery threads without it.
#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/clock.h"
#include "base/mutex.h"
#include "base/status.h"
#include "discovery/key_view.h"
#include "discovery/registry.h"
#include "events/delivery_queue.h"
#include "hub/delivery.h"
#include "hub/hub.pb.h"
#include "hub/hub_client.h"
#include "hub/hub_link.h"

namespace dynamo::hub {

// A refusal as a failure: kInvalid, kExhausted, or kUnavailable for a lease that ran out.
Result<message::Answer> accepted(const Result<message::Answer>& answer);

class ClientState final : public HubLink::Owner {
 public:
  ClientState(HubClientOptions options, HostPort address);

  HubLink& link() { return link_; }

  // Leases; the number names one from open_lease() to end_lease().
  uint64_t open_lease(std::chrono::milliseconds time_to_live);
  void end_lease(uint64_t id, Time until);
  void put(uint64_t lease, std::string key, std::string value);
  void remove(uint64_t lease, const std::string& key);
  Result<bool> claim(uint64_t lease, std::string key, std::string value, Time until);
  Status sync(uint64_t lease, Time until);

  uint64_t open_watch(std::string prefix, std::shared_ptr<ChangesListener> listener);
  void end_watch(uint64_t id);
  // `queue` gets what matches until end_subscription().
  uint64_t open_subscription(std::string pattern, events::DeliveryQueue* queue);
  void end_subscription(uint64_t id);
  // Counts events that a subscriber's queue has no room for.
  std::atomic<uint64_t>& undelivered() { return dropped_; }
  uint64_t dropped() const { return dropped_ + link_.dropped(); }

  // Sends the request, once there is a connection, and waits for the answer. `may_repeat`: again if the connection breaks meanwhile.
  // Errors: kDeadline (no answer; address), kUnavailable (no connection; address, last trouble), kInvalid and kExhausted (the hub refused).
  Result<message::Answer> call(message::Request request, bool may_repeat, Time until);

  void on_connected(uint64_t incarnation) override;
  void on_message(message::FromHub message) override;
  void on_lost(const Status& why) override;
  void on_tick(Time now) override;

 private:
  // Gets the answer, or why there is none; under mutex_.
  using OnAnswer = std::function<void(const Result<message::Answer>&)>;
  struct LeaseWish {
    std::chrono::milliseconds time_to_live{};
    std::map<std::string, std::string> keys;
    bool is_told = false;   // the hub was told of the lease, and of every change since
    size_t unanswered = 0;  // requests on the way
    std::string refusal;    // what the hub said against it last
    Time retry_at;          // when it is told again after a refusal
  };
  struct WatchWish {
    std::string prefix;
    discovery::KeyView view;
    std::shared_ptr<ChangesListener> listener;
  };
  struct SubscriptionWish {
    std::string pattern;
    events::DeliveryQueue* queue = nullptr;
  };
  struct Claim;

  std::string frame_asking(message::Request request, OnAnswer on_answer) REQUIRES(mutex_);
  bool ask(message::Request request, OnAnswer on_answer) REQUIRES(mutex_);
  std::string grant_frame(uint64_t id, LeaseWish* lease) REQUIRES(mutex_);
  OnAnswer on_lease_answer(uint64_t id);
  void tell_put(uint64_t id, LeaseWish* lease, const std::string& key) REQUIRES(mutex_);
  void tell_remove(uint64_t id, LeaseWish* lease, const std::string& key) REQUIRES(mutex_);
  void take_claim(uint64_t lease, Claim* claim, const Result<message::Answer>& answer) REQUIRES(mutex_);
  void take_answer(const message::Answer& answer) REQUIRES(mutex_);
  void take_changes(const message::Changes& changes) REQUIRES(mutex_);
  void take_event(const message::Event& event) REQUIRES(mutex_);
  void tell(const WatchWish& watch, discovery::KeyView::Changes changes) REQUIRES(mutex_);
  Status too_late() const;

  const HubClientOptions options_;
  Mutex mutex_;
  std::condition_variable_any changed_;
  uint64_t last_number_ GUARDED_BY(mutex_) = 0;  // of requests, watches, subscriptions
  std::unordered_map<uint64_t, OnAnswer> waiting_ GUARDED_BY(mutex_);
  std::map<uint64_t, LeaseWish> leases_ GUARDED_BY(mutex_);
  std::map<uint64_t, WatchWish> watches_ GUARDED_BY(mutex_);
  std::map<uint64_t, SubscriptionWish> subscriptions_ GUARDED_BY(mutex_);
  std::optional<uint64_t> incarnation_ GUARDED_BY(mutex_);  // of the hub that was there last
  std::optional<Time> settle_at_ GUARDED_BY(mutex_);        // set while missing keys are kept
  std::atomic<uint64_t> dropped_ = 0;
  Delivery changes_delivery_;
  HubLink link_;  // last: its thread calls the above
};

}  // namespace dynamo::hub
