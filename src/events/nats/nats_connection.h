// One connection to one NATS server, from its handshake to its first failure: libnats without its own reconnecting, which
// drops the newest messages and gives up after a refused login. NatsBus dials anew instead.
//
// Threads: one at a time, but `on_closed`, which runs on a thread of libnats and never once the destructor has returned.
// Private to the module.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <nats/nats.h>

#include "base/status.h"
#include "events/delivery_queue.h"
#include "events/nats/nats_options.h"

namespace dynamo::events {

class NatsConnection {
 public:
  using OnClosed = std::function<void(std::string why)>;

  // Blocks up to about `timeout`. `on_closed` is called once if the connection fails later.
  // Errors: kUnavailable; kInvalid: another try cannot help (refused credentials or certificate, TLS asked for on one side
  // only, unreadable files).
  static Result<std::unique_ptr<NatsConnection>> open(const NatsOptions& options, const NatsServer& server,
                                                      std::chrono::milliseconds timeout, OnClosed on_closed);
  ~NatsConnection();
  NatsConnection(const NatsConnection&) = delete;
  NatsConnection& operator=(const NatsConnection&) = delete;

  // Hands a message to libnats, which sends it within a millisecond or so. Requires: a zero byte after the subject.
  // Blocks while the server takes nothing, for 2 s at most. Errors: kInvalid: larger than this server takes, the connection
  // is fine; kUnavailable: not sent, the connection is over; kDeadline: perhaps sent, the connection is of no further use.
  Status publish(const MessageView& message);

  // Under a name of the caller's, not used before here. Errors: kUnavailable: the connection is over.
  Status subscribe(uint64_t id, const std::string& pattern, std::shared_ptr<DeliveryQueue> queue);
  // Requires: it is subscribed. The next flush() frees what it took.
  void unsubscribe(uint64_t id);
  bool is_subscribed(uint64_t id) const { return subscriptions_.contains(id); }
  std::vector<uint64_t> subscriptions() const;

  // Blocks until the server has taken everything above. Errors: kUnavailable, kDeadline; the connection is then over.
  Status flush(std::chrono::milliseconds timeout);

 private:
  struct ClosedSignal;
  struct NativeSubscription {
    natsSubscription* native;
    void* handle;
  };

  NatsConnection();
  void tell_when_closed(OnClosed on_closed);
  Status dial(const NatsOptions& options, const NatsServer& server, std::chrono::milliseconds timeout);
  void free_ended();
  static void handle_closed(natsConnection* connection, void* handle);

  std::shared_ptr<ClosedSignal> closed_signal_;
  void* closed_handle_;
  natsConnection* connection_ = nullptr;
  std::map<uint64_t, NativeSubscription> subscriptions_;
  // libnats 3.4 looks a message's subscription up and uses it without holding it. So one that ended is freed only when a
  // round trip has shown that no message for it is being read, or when the threads of the connection are gone.
  std::vector<natsSubscription*> ended_;
};

}  // namespace dynamo::events
