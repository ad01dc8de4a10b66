#include "worker/requests_in_flight.h"

#include <algorithm>

#include <fmt/format.h>

namespace dynamo::worker {

Status RequestsInFlight::wait_until_quiet(Duration quiet, Time until) {
  MutexLock lock(mutex_);
  const Time begun = Clock::steady().now();
  for (;;) {
    if (is_stopping_) return cancelled("this worker is stopping");
    const Time now = Clock::steady().now();
    const Time quiet_at = std::max(begun, last_change_) + quiet;
    if (count_ == 0 && now >= quiet_at) return {};
    const Time limit = count_ == 0 ? std::max(begun, until) + quiet : until;
    if (now >= limit) return deadline(fmt::format("{} requests are not over", count_));
    changed_.wait_until(mutex_, count_ == 0 ? std::min(quiet_at, limit) : limit);
  }
}

void RequestsInFlight::stop_waiting() {
  MutexLock lock(mutex_);
  is_stopping_ = true;
  changed_.notify_all();
}

void RequestsInFlight::add(int32_t requests) {
  MutexLock lock(mutex_);
  count_ += requests;
  last_change_ = Clock::steady().now();
  if (count_ == 0) changed_.notify_all();
}

}  // namespace dynamo::worker
