// A mutex that clang can check: what it guards is written down with GUARDED_BY.
// Checked by `-Wthread-safety` when clang builds the tree (preset fuzz); g++ sees plain std::mutex.
#pragma once

#include <mutex>

#if defined(__clang__)
#define DYNAMO_THREAD_ATTRIBUTE(x) __attribute__((x))
#else
#define DYNAMO_THREAD_ATTRIBUTE(x)
#endif
// gRPC's headers have a GUARDED_BY too, which means the same.
#undef GUARDED_BY
#undef REQUIRES
#define GUARDED_BY(mutex) DYNAMO_THREAD_ATTRIBUTE(guarded_by(mutex))
#define REQUIRES(mutex) DYNAMO_THREAD_ATTRIBUTE(requires_capability(mutex))

namespace dynamo {

class DYNAMO_THREAD_ATTRIBUTE(capability("mutex")) Mutex {
 public:
  void lock() DYNAMO_THREAD_ATTRIBUTE(acquire_capability()) { mutex_.lock(); }
  void unlock() DYNAMO_THREAD_ATTRIBUTE(release_capability()) { mutex_.unlock(); }

 private:
  std::mutex mutex_;
};

// Holds a Mutex for a scope. A std::condition_variable_any waits on the Mutex itself.
class DYNAMO_THREAD_ATTRIBUTE(scoped_lockable) MutexLock {
 public:
  explicit MutexLock(Mutex& mutex) DYNAMO_THREAD_ATTRIBUTE(acquire_capability(mutex)) : mutex_(mutex) { mutex_.lock(); }
  ~MutexLock() DYNAMO_THREAD_ATTRIBUTE(release_capability()) { mutex_.unlock(); }
  MutexLock(const MutexLock&) = delete;
  MutexLock& operator=(const MutexLock&) = delete;

 private:
  Mutex& mutex_;
};

}  // namespace dynamo
