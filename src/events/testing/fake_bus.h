// A bus without a network: FakeBus instances that share a FakeBroker, which a test can make misbehave.
//
//   FakeBroker broker;
//   FakeBus worker(broker), router(broker);
//   broker.drop_next(1);             // the next message reaches nobody
//   broker.hold();  ...  broker.release_reversed();
//   broker.settle();                 // every callback due has returned
//
// Delivery rules are the real ones: bounded queues (DeliveryQueue), callbacks on threads of their own.
// Threads: every method from any thread. The broker outlives its buses.
#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/mutex.h"
#include "events/delivery_queue.h"
#include "events/event_bus.h"
#include "events/message_queue.h"

namespace dynamo::events {

class FakeBus;

class FakeBroker {
 public:
  ~FakeBroker();  // Requires: its buses are gone

  // The next messages reach nobody / reach everybody twice.
  void drop_next(size_t messages);
  void duplicate_next(size_t messages);

  // From hold() on messages wait here until they are released, in order or the last first; release() ends the holding.
  void hold();
  void release();
  void release_reversed();
  size_t held() const;

  // Away: buses are not connected and keep what is published. Hung: buses look connected, nothing moves, flush() waits.
  void take_away();
  void hang();
  void bring_back();

  // Blocks until nothing is on its way to a callback any more. Not from a callback; not while a subscriber is blocked.
  void settle() const;

 private:
  friend class FakeBus;
  enum class State { kUp, kAway, kHung };
  struct Held {
    std::string subject;
    std::string data;
  };

  void enter(std::string_view subject, std::string_view data) REQUIRES(mu_);
  void deliver(std::string_view subject, std::string_view data) REQUIRES(mu_);
  bool is_idle() const;

  mutable Mutex mu_;
  std::condition_variable_any is_up_;
  State state_ GUARDED_BY(mu_) = State::kUp;
  std::vector<FakeBus*> buses_ GUARDED_BY(mu_);
  size_t to_drop_ GUARDED_BY(mu_) = 0;
  size_t to_duplicate_ GUARDED_BY(mu_) = 0;
  bool is_holding_ GUARDED_BY(mu_) = false;
  std::deque<Held> held_ GUARDED_BY(mu_);
};

class FakeBus final : public EventBus {
 public:
  explicit FakeBus(FakeBroker& broker);
  ~FakeBus() override;  // Requires: its subscriptions are gone

  void publish(std::string_view subject, std::string_view data) override;
  std::unique_ptr<Subscription> subscribe(std::string pattern, OnMessage on_message) override;
  Status flush(Time until) override;
  bool is_connected() const override;
  uint64_t dropped() const override { return dropped_; }

 private:
  friend class FakeBroker;
  class FakeSubscription;

  FakeBroker& broker_;
  std::atomic<uint64_t> dropped_ = 0;
  std::vector<FakeSubscription*> subscriptions_;  // guarded by the broker's mutex, as the next
  MessageQueue unsent_;
};

}  // namespace dynamo::events
