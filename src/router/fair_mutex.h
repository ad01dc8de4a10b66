// A mutex that passes to whoever waits for it: a thread that takes it piece after piece lets others in between, which
// a std::mutex does not (who has just released it is the first to have it again).  Private to the module.
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>

#include "base/mutex.h"

namespace dynamo::router {

class DYNAMO_THREAD_ATTRIBUTE(capability("mutex")) FairMutex {
 public:
  void lock() DYNAMO_THREAD_ATTRIBUTE(acquire_capability()) {
    if (waiting_.load() == 0 && mutex_.try_lock()) return;
    ++waiting_;
    next_.lock();  // who waits holds it, so that who comes again waits behind
    mutex_.lock();
    next_.unlock();
    --waiting_;
  }
  void unlock() DYNAMO_THREAD_ATTRIBUTE(release_capability()) { mutex_.unlock(); }

 private:
  std::atomic<uint32_t> waiting_ = 0;
  std::mutex next_;
  std::mutex mutex_;
};

class DYNAMO_THREAD_ATTRIBUTE(scoped_lockable) FairMutexLock {
 public:
  explicit FairMutexLock(FairMutex& mutex) DYNAMO_THREAD_ATTRIBUTE(acquire_capability(mutex)) : mutex_(mutex) {
    mutex_.lock();
  }
  ~FairMutexLock() DYNAMO_THREAD_ATTRIBUTE(release_capability()) { mutex_.unlock(); }
  FairMutexLock(const FairMutexLock&) = delete;
  FairMutexLock& operator=(const FairMutexLock&) = delete;

 private:
  FairMutex& mutex_;
};

}  // namespace dynamo::router
