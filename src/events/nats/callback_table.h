// What a C library's callback may still reach: handles that it can keep for ever, objects that may be gone.
//
// libnats calls back on its own threads and may do so while, or after, we destroy what the call is for. So it gets a handle
// that is never used twice; whoever is called looks it up and holds the object for the time of the call (hence shared_ptr).
// Threads: any.  Private to the module.
#pragma once

#include <cstdint>
#include <memory>
#include <unordered_map>
#include <utility>

#include "base/mutex.h"

namespace dynamo::events {

template <class T>
class CallbackTable {
 public:
  void* add(std::shared_ptr<T> object) {
    MutexLock lock(mu_);
    objects_.emplace(++last_, std::move(object));
    return reinterpret_cast<void*>(last_);
  }
  // Returns: null once it was removed.
  std::shared_ptr<T> find(void* handle) const {
    MutexLock lock(mu_);
    const auto found = objects_.find(reinterpret_cast<uintptr_t>(handle));
    return found == objects_.end() ? nullptr : found->second;
  }
  void remove(void* handle) {
    MutexLock lock(mu_);
    objects_.erase(reinterpret_cast<uintptr_t>(handle));
  }

 private:
  mutable Mutex mu_;
  uintptr_t last_ GUARDED_BY(mu_) = 0;
  std::unordered_map<uintptr_t, std::shared_ptr<T>> objects_ GUARDED_BY(mu_);
};

}  // namespace dynamo::events
