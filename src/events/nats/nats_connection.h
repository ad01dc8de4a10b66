// One connection to one NATS server, from its handshake to its first failure: libnats without its own reconnecting, which
// drops the newest messages and gives up after a refused login. NatsBus dials anew instead.
//
// Threads: one at a time, but `on_closed`, which runs on a thread of libnats and never once the destructor has returned.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include <nats/nats.h>

#include "base/status.h"
#include "events/delivery_queue.h"
#include "events/nats/nats_options.h"

namespace dynamo::events {

// A subscription of one connection. Must not outlive it.
class NatsInterest {
 public:
  NatsInterest(natsSubscription* subscription, void* handle) : subscription_(subscription), handle_(handle) {}
  NatsInterest(NatsInterest&& other) noexcept
      : subscription_(std::exchange(other.subscription_, nullptr)), handle_(other.handle_) {}
  NatsInterest& operator=(NatsInterest&&) = delete;
  ~NatsInterest();

 private:
  natsSubscription* subscription_;
  void* handle_;
};

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

  // Errors: kUnavailable: the connection is over.
  Result<NatsInterest> subscribe(const std::string& pattern, std::shared_ptr<DeliveryQueue> queue);

  // Blocks until the server has taken everything above. Errors: kUnavailable, kDeadline; the connection is then over.
  Status flush(std::chrono::milliseconds timeout);

 private:
  struct ClosedSignal;

  NatsConnection();
  void tell_when_closed(OnClosed on_closed);
  Status dial(const NatsOptions& options, const NatsServer& server, std::chrono::milliseconds timeout);
  static void handle_closed(natsConnection* connection, void* handle);

  std::shared_ptr<ClosedSignal> closed_signal_;
  void* closed_handle_;
  natsConnection* connection_ = nullptr;
};

}  // namespace dynamo::events
