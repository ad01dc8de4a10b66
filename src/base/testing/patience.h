// Waiting in tests for what another thread or process does: until it is done or far too late, never for a guessed time.
// Threads: any.
#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "base/mutex.h"

namespace dynamo {

// How long tests wait for what must happen; far more than it takes beside whatever else the machine does.
inline constexpr std::chrono::seconds kPatience(300);

inline Time soon() {
  return Clock::steady().now() + kPatience;
}

// For what cannot be waited for otherwise. Returns: whether `condition` came true in time.
inline bool wait_until(const std::function<bool()>& condition) {
  const Time until = soon();
  while (!condition()) {
    if (Clock::steady().now() > until) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return true;
}

// What callbacks were called with, in order. Must outlive who calls them.
template <class T>
class Seen {
 public:
  void add(T one) {
    MutexLock lock(mutex_);
    all_.push_back(std::move(one));
    changed_.notify_all();
  }

  // Waits until `is_enough` of what was seen. Returns: whether that came in time.
  bool wait(std::function<bool(const std::vector<T>&)> is_enough) const {
    MutexLock lock(mutex_);
    return changed_.wait_until(mutex_, soon(), [&]() REQUIRES(mutex_) { return is_enough(all_); });
  }
  bool wait_for_count(size_t count) const {
    return wait([&](const std::vector<T>& all) { return all.size() >= count; });
  }

  std::vector<T> all() const {
    MutexLock lock(mutex_);
    return all_;
  }

 private:
  mutable Mutex mutex_;
  mutable std::condition_variable_any changed_;
  std::vector<T> all_ GUARDED_BY(mutex_);
};

}  // namespace dynamo
