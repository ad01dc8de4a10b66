// SIGINT, SIGTERM and SIGHUP, taken one by one by the main thread; every other thread has them blocked.
// Threads: made by the main thread before any other starts.
#pragma once

#include <signal.h>

namespace dynamo::apps {

class StopSignals {
 public:
  StopSignals();
  // Waits for one and returns it.
  int wait() const;
  // One has come that nobody has taken.
  bool is_pending() const;
  // From now on one ends the program at once, with 128 and its number.
  void release() const;
  const sigset_t& set() const { return signals_; }

 private:
  sigset_t signals_{};
};

}  // namespace dynamo::apps
