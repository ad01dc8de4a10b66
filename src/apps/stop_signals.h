// SIGINT, SIGTERM and SIGHUP, taken one by one by the main thread; every other thread has them blocked.
// Threads: made by the main thread before any other starts.
#pragma once

#include <signal.h>

#include <thread>

#include "base/clock.h"

namespace dynamo::apps {

class StopSignals {
 public:
  StopSignals();
  // Waits for one and returns it.
  int wait() const;
  // The same for as long as `limit`. Returns: 0 if none came.
  int wait_for(Duration limit) const;
  // From now on one ends the program at once, with 128 and its number.
  void release() const;
  const sigset_t& set() const { return signals_; }

 private:
  sigset_t signals_{};
};

// While it lives, a signal ends the program at once, with status 0. A program that starts serves nobody yet, so that
// nothing has to end in order, and it may be waiting for a disk, a device or a peer that takes its time.
class EndsWhileStarting {
 public:
  explicit EndsWhileStarting(const StopSignals* signals);
  // A signal that has not been minded is left to StopSignals::wait().
  ~EndsWhileStarting();
  EndsWhileStarting(const EndsWhileStarting&) = delete;
  EndsWhileStarting& operator=(const EndsWhileStarting&) = delete;

 private:
  int signal_fd_;
  int started_fd_;
  std::thread thread_;
};

}  // namespace dynamo::apps
