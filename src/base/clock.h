// Where time comes from, so that tests and simulation can own it.
// Threads: every clock may be read from any thread. What the wall clock may be used for: tests/layering/test_wall_clock.py.
#pragma once

#include <chrono>

namespace dynamo {

using Time = std::chrono::steady_clock::time_point;
using Duration = std::chrono::steady_clock::duration;

class Timer;  // base/timer.h

class Clock {
 public:
  virtual ~Clock() = default;
  virtual Time now() const = 0;

  // For Timer only: it will wait until `due`. Returns: when by the steady clock; a clock that is not the steady one says never, and
  // calls Timer::wake() when the time has come, unless disarmed before.
  virtual Time arm(Timer* timer, Time due) const = 0;
  virtual void disarm(Timer* timer) const = 0;

  // The machine's steady clock; lives as long as the program.
  static const Clock& steady();
};

}  // namespace dynamo
