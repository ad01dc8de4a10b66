// The requests that a worker answers now; for whoever waits until they are over.
// Threads: any.  Private to the module.
#pragma once

#include <condition_variable>
#include <cstdint>

#include "base/clock.h"
#include "base/mutex.h"
#include "base/status.h"

namespace dynamo::worker {

class RequestsInFlight {
 public:
  // One request, for as long as it lives. Requests outlive it.
  class Stay {
   public:
    explicit Stay(RequestsInFlight* requests) : requests_(requests) { requests_->add(1); }
    ~Stay() { requests_->add(-1); }
    Stay(const Stay&) = delete;
    Stay& operator=(const Stay&) = delete;

   private:
    RequestsInFlight* requests_;
  };

  // Blocks until there has been none for `quiet`; they have until `until` to end. Errors: kDeadline (how many there are),
  // kCancelled (stop_waiting() was called).
  Status wait_until_quiet(Duration quiet, Time until);
  // From now on nobody waits.
  void stop_waiting();

 private:
  void add(int32_t requests);

  Mutex mutex_;
  std::condition_variable_any changed_;
  int32_t count_ GUARDED_BY(mutex_) = 0;
  Time last_change_ GUARDED_BY(mutex_){};
  bool is_stopping_ GUARDED_BY(mutex_) = false;
};

}  // namespace dynamo::worker
