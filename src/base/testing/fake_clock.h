// A clock that moves only when told.
#pragma once

#include <atomic>

#include "base/clock.h"

namespace dynamo {

class FakeClock final : public Clock {
 public:
  Time now() const override { return Time(Duration(ticks_.load())); }
  void advance(Duration by) { ticks_ += by.count(); }

 private:
  std::atomic<Duration::rep> ticks_{0};
};

}  // namespace dynamo
