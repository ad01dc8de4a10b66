// What arrived at a subscription, for tests that wait for it. Must outlive the subscriptions it is given to.
// Threads: any.
#pragma once

#include <condition_variable>
#include <string>
#include <string_view>
#include <vector>

#include "base/mutex.h"
#include "base/testing/patience.h"
#include "events/event_bus.h"

namespace dynamo::events {

class Collector {
 public:
  OnMessage callback() {
    return [this](std::string_view subject, std::string_view data) {
      MutexLock lock(mu_);
      subjects_.emplace_back(subject);
      messages_.emplace_back(data);
      changed_.notify_all();
    };
  }

  // Returns: whether so many messages arrived in time.
  bool wait_for(size_t count) {
    const Time until = soon();
    MutexLock lock(mu_);
    while (messages_.size() < count) {
      if (changed_.wait_until(mu_, until) == std::cv_status::timeout) return messages_.size() >= count;
    }
    return true;
  }
  size_t count() const {
    MutexLock lock(mu_);
    return messages_.size();
  }
  std::vector<std::string> messages() const {
    MutexLock lock(mu_);
    return messages_;
  }
  std::string message_at(size_t index) const {
    MutexLock lock(mu_);
    return messages_.at(index);
  }
  std::vector<std::string> subjects() const {
    MutexLock lock(mu_);
    return subjects_;
  }

 private:
  mutable Mutex mu_;
  std::condition_variable_any changed_;
  std::vector<std::string> subjects_ GUARDED_BY(mu_);
  std::vector<std::string> messages_ GUARDED_BY(mu_);
};

// Whether a message comes back through the server.
inline bool carries(EventBus& bus) {
  Collector collector;
  const auto subscription = bus.subscribe("echo", collector.callback());
  if (!bus.flush(soon()).is_ok()) return false;
  bus.publish("echo", "x");
  return collector.wait_for(1);
}

}  // namespace dynamo::events
