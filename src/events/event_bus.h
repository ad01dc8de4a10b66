// Messages to whoever listens: NATS in a cluster, the hub on one machine, a list in tests.
//
// Delivery is at most once: what was published while the bus or a subscriber was away may be lost. What needs more numbers its
// messages and repairs gaps by other means (router/kv_feed). Messages of one publisher on one subject arrive in order.
// A subject is parts joined by dots: "dynamo.ns.kv.1f". Threads: every method from any thread; callbacks run on the bus's own.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/status.h"

namespace dynamo::events {

inline constexpr size_t kMaxMessageBytes = 1U << 20;       // one message; NATS's own default limit
inline constexpr size_t kMaxUnsentBytes = 8U << 20;        // kept while the bus is away, the oldest dropped first
inline constexpr size_t kMaxUndeliveredBytes = 64U << 20;  // kept for a subscriber that is slow, the newest dropped

// Views are valid during the call. Calls for one subscription come one at a time and must not block; they may publish.
using OnMessage = std::function<void(std::string_view subject, std::string_view data)>;

// Ends the subscription when destroyed: no callback runs after that. Not from its own callback. Must not outlive its bus.
class Subscription {
 public:
  virtual ~Subscription() = default;
};

class EventBus {
 public:
  virtual ~EventBus() = default;

  // Sends to every present subscriber, those in this process among them. Never blocks.
  // Requires: a subject without '*', '>' and blanks; data.size() <= kMaxMessageBytes.
  virtual void publish(std::string_view subject, std::string_view data) = 0;

  // `pattern` may hold '*' for one part, and '>' as its last part for one or more. Takes effect for what is published after a
  // flush() that follows it; renewed by itself after an outage.
  virtual std::unique_ptr<Subscription> subscribe(std::string pattern, OnMessage on_message) = 0;

  // Blocks until the bus has taken everything published and subscribed here before. Errors: kDeadline, kUnavailable.
  virtual Status flush(Time until) = 0;

  virtual bool is_connected() const = 0;
  // Messages known to be lost here: dropped unsent or undelivered. For metrics.
  virtual uint64_t dropped() const = 0;
};

// Whether `text` may be published on: parts without blanks and wildcards, none of them empty.
bool is_subject(std::string_view text);
// Whether `text` may be subscribed to: a subject whose parts may be '*', the last one '>'.
bool is_pattern(std::string_view text);
// Whether a subject matches a subscription's pattern.
bool matches(std::string_view pattern, std::string_view subject);

}  // namespace dynamo::events
