// Where a hub client tells its watches of changes: a thread that calls them one after the other, so that a slow callback stops
// neither the connection nor its signs of life.
// Threads: every method from any.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <span>
#include <thread>
#include <utility>

#include "base/mutex.h"
#include "discovery/registry.h"

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

// A watch's callback, which can be ended: after close() it does not run, and what it held is gone.
class ChangesListener {
 public:
  explicit ChangesListener(discovery::OnChanges callback) : callback_(std::move(callback)) {}

  void call(std::span<const discovery::KeyChange> changes) {
    MutexLock lock(running_);
    if (callback_) callback_(changes);
  }

  // Waits for a call that runs. Not from the callback itself.
  void close() {
    MutexLock lock(running_);
    callback_ = nullptr;
  }

 private:
  Mutex running_;
  discovery::OnChanges callback_ GUARDED_BY(running_);
};

}  // namespace dynamo::hub
