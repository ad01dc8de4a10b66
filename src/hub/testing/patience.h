// Waiting in tests for what another thread does: by being told, never by a pause of guessed length.
// Threads: any.
#pragma once

#include <condition_variable>
#include <functional>
#include <vector>

#include "base/clock.h"
#include "base/mutex.h"

namespace dynamo::hub {

inline Time soon() {
  return Clock::steady().now() + std::chrono::seconds(10);
}

// What callbacks were called with, in order.
template <class T>
class Seen {
 public:
  void add(T one) {
    MutexLock lock(mutex_);
    all_.push_back(std::move(one));
    changed_.notify_all();
  }

  // Waits until `is_enough` of what was seen. Returns: whether that came in time.
  bool wait(std::function<bool(const std::vector<T>&)> is_enough, Time until = soon()) {
    MutexLock lock(mutex_);
    return changed_.wait_until(mutex_, until, [&]() REQUIRES(mutex_) { return is_enough(all_); });
  }
  bool wait_for_count(size_t count, Time until = soon()) {
    return wait([&](const std::vector<T>& all) { return all.size() >= count; }, until);
  }

  std::vector<T> all() {
    MutexLock lock(mutex_);
    return all_;
  }

 private:
  Mutex mutex_;
  std::condition_variable_any changed_;
  std::vector<T> all_ GUARDED_BY(mutex_);
};

}  // namespace dynamo::hub
