// A clock that moves only when told.
#pragma once

#include <map>
#include <utility>

#include "base/clock.h"
#include "base/mutex.h"
#include "base/timer.h"

namespace dynamo {

class FakeClock final : public Clock {
 public:
  Time now() const override {
    MutexLock lock(mutex_);
    return now_;
  }
  // Wakes the timers that are due then, in the order of their times. Requires, if there are any: on their thread.
  void advance(Duration by) { advance_to(now() + by); }
  void advance_to(Time to) {
    while (Timer* timer = next_due(to)) timer->wake();
    MutexLock lock(mutex_);
    now_ = to;
  }
  // Moves to the time at which the next timer is due. Returns: false if none waits.
  bool advance_to_next() {
    Time to;
    {
      MutexLock lock(mutex_);
      if (armed_.empty()) return false;
      to = armed_.begin()->first.first;
    }
    advance_to(to);
    return true;
  }

  Time arm(Timer* timer, Time due) const override {
    MutexLock lock(mutex_);
    if (due != Time::max()) armed_[{due, ++last_}] = timer;
    return Time::max();
  }
  void disarm(Timer* timer) const override {
    MutexLock lock(mutex_);
    std::erase_if(armed_, [&](const auto& one) { return one.second == timer; });
  }

 private:
  Timer* next_due(Time to) {
    MutexLock lock(mutex_);
    if (armed_.empty() || armed_.begin()->first.first > to) return nullptr;
    now_ = armed_.begin()->first.first;
    Timer* const timer = armed_.begin()->second;
    armed_.erase(armed_.begin());
    return timer;
  }

  mutable Mutex mutex_;
  Time now_ GUARDED_BY(mutex_){};
  mutable std::map<std::pair<Time, uint64_t>, Timer*> armed_ GUARDED_BY(mutex_);  // by time, then by who came first
  mutable uint64_t last_ GUARDED_BY(mutex_) = 0;
};

}  // namespace dynamo
