// Where a hub client runs its callbacks: a thread that calls them one after the other, so that a slow callback stops neither the
// connection nor its signs of life.
// Threads: every method from any.
#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <functional>
#include <thread>
#include <utility>

#include "base/mutex.h"

namespace dynamo::hub {

class Delivery {
 public:
  Delivery() : thread_([this] { run(); }) {}
  ~Delivery();  // waits for the call that runs; what waits behind it is forgotten
  Delivery(const Delivery&) = delete;
  Delivery& operator=(const Delivery&) = delete;

  void post(std::function<void()> call);

 private:
  void run();

  Mutex mutex_;
  std::condition_variable_any changed_;
  std::deque<std::function<void()>> waiting_ GUARDED_BY(mutex_);
  bool is_stopping_ GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

// A callback that can be ended: after close() it does not run, and what it held is gone.
template <class Callback>
class Listener {
 public:
  explicit Listener(Callback callback) : callback_(std::move(callback)) {}

  template <class... Arguments>
  void call(Arguments... arguments) {
    MutexLock lock(running_);
    if (callback_) callback_(arguments...);
  }

  // Waits for a call that runs. Not from the callback itself.
  void close() {
    MutexLock lock(running_);
    callback_ = nullptr;
  }

  std::atomic<size_t> undelivered_bytes = 0;

 private:
  Mutex running_;
  Callback callback_ GUARDED_BY(running_);
};

}  // namespace dynamo::hub
