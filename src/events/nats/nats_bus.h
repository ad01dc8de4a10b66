// The EventBus of a cluster: one or several NATS servers.
//
//   publish() -> queue of unsent messages -> sender thread -> libnats -> server
//   server -> libnats -> one DeliveryQueue per subscription -> callback
//
// The sender thread alone talks to the connection. When that fails it dials the servers in turn, for ever, renews the
// subscriptions, then sends what is queued. Lost without being counted: what a server or a socket held when it died.
// Threads: as EventBus says; one sender thread per bus, one thread per subscription, and those of libnats.
#pragma once

#include <atomic>
#include <condition_variable>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "base/mutex.h"
#include "events/delivery_queue.h"
#include "events/event_bus.h"
#include "events/message_queue.h"
#include "events/nats/nats_connection.h"
#include "events/nats/nats_dialer.h"
#include "events/nats/nats_options.h"

namespace dynamo::events {

class NatsBus final : public EventBus {
 public:
  // Tries every server again and again until one takes us. Errors: kUnavailable: none did until then; kInvalid, at once: a
  // wrong address, TLS files that cannot be used, a server that refuses our credentials. No text repeats a password.
  static Result<std::unique_ptr<NatsBus>> connect(NatsOptions options, Time until);

  // What is unsent is lost: flush() first. May take 2 s when a server hangs. Requires: its subscriptions are gone.
  ~NatsBus() override;

  void publish(std::string_view subject, std::string_view data) override;
  std::unique_ptr<Subscription> subscribe(std::string pattern, OnMessage on_message) override;
  // Errors: kDeadline: connected, without an answer in time; kUnavailable: away until the deadline, or the connection broke
  // while this waited: what was published before may be lost.
  Status flush(Time until) override;
  bool is_connected() const override { return is_connected_; }
  uint64_t dropped() const override { return dropped_; }

 private:
  class NatsSubscription;
  struct Wanted {
    std::string pattern;
    std::shared_ptr<DeliveryQueue> queue;  // a callback of libnats may hold it a moment longer than we do
  };
  struct Flush {
    uint64_t published = 0;  // messages that came before it
    bool is_asked = false;   // the sender works on it
    std::optional<Status> result = std::nullopt;
  };
  // What the sender does next, taken under the lock.
  struct Work {
    std::map<uint64_t, Wanted> new_subscriptions;
    std::vector<uint64_t> ended_subscriptions;
    MessageBatch batch;
    bool has_flush = false;
    std::optional<std::string> why_closed = std::nullopt;  // set: the connection is over, and there is nothing else
  };

  explicit NatsBus(NatsDialer dialer);
  void end_subscription(uint64_t id);
  void run();
  bool has_work() const REQUIRES(mu_);
  void wake_sender() REQUIRES(mu_);
  std::optional<Work> next_work();  // none: stopping
  Status carry_out(Work& work);
  Status send(MessageBatch& batch);
  void put_back(MessageBatch batch);
  void finish_flushes();
  void leave(const Status& why);
  Status dial();
  void come_back();
  void on_closed(std::string why);

  NatsDialer dialer_;  // as the next two, the sender thread's
  bool has_logged_refusal_ = false;
  std::unique_ptr<NatsConnection> connection_;

  mutable Mutex mu_;
  std::condition_variable_any has_work_;
  std::condition_variable_any flush_done_;
  MessageQueue unsent_ GUARDED_BY(mu_);
  uint64_t published_ GUARDED_BY(mu_) = 0;
  std::map<uint64_t, Wanted> wanted_ GUARDED_BY(mu_);
  uint64_t last_subscription_ GUARDED_BY(mu_) = 0;
  bool subscriptions_changed_ GUARDED_BY(mu_) = false;
  std::list<Flush> flushes_ GUARDED_BY(mu_);
  bool is_sender_waiting_ GUARDED_BY(mu_) = false;
  std::optional<std::string> why_closed_ GUARDED_BY(mu_);  // set: the connection is over
  bool is_stopping_ GUARDED_BY(mu_) = false;
  std::atomic<bool> is_connected_ = false;  // written under mu_
  std::atomic<uint64_t> dropped_ = 0;
  std::thread sender_;
};

}  // namespace dynamo::events
