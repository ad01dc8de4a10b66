// Runs this program's other commands as processes of their own: starts them, passes their output on line by line with
// their name in front, starts those again that die, and ends them in order. Their output goes the way of the log
// (base/log_output.h), so a log that nobody reads holds nobody up.
// Threads: one, the main thread; children die with it.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "apps/stop_signals.h"
#include "base/clock.h"
#include "base/status.h"

namespace dynamo::apps {

struct ChildOptions {
  std::string name;                            // in front of its lines, until it tells by which it goes
  std::vector<std::string> arguments;          // after the program's name
  std::chrono::milliseconds stop_limit{5000};  // after SIGTERM; then SIGKILL
};

class Supervisor {
 public:
  explicit Supervisor(const StopSignals* signals);
  ~Supervisor();  // kills who is left
  Supervisor(const Supervisor&) = delete;
  Supervisor& operator=(const Supervisor&) = delete;

  // Starts a child. The order of starts is the reverse of the order of stops. Errors: kUnavailable (fork, pipe).
  Status start(ChildOptions options);
  // What the child of that name is started with from now on.
  void set_arguments(const std::string& name, std::vector<std::string> arguments);
  // Passes output on until every child is ready (apps/readiness.h). Returns: where the child that was started last says
  // that it is reached.
  // Errors: kUnavailable (one ended before, with its exit status), kCancelled (a signal came), kDeadline.
  Result<std::string> wait_until_ready(Time until);
  // Passes output on and starts children again until a signal comes. Returns: the signal.
  int run();
  // Ends all, last started first; a second signal ends everything at once, this process included.
  void stop();

 private:
  struct Child;
  Status spawn(Child* child);
  // Waits for something to happen, at most until then; handles output and deaths. Returns: a signal, or 0.
  int turn(Time until);
  // Returns: whether there was any.
  bool read_output(Child* child);
  void read_ready(Child* child);
  void reap();
  void restart_due();

  int signal_fd_ = -1;
  std::vector<std::unique_ptr<Child>> children_;
  bool is_stopping_ = false;
  bool may_restart_ = false;
};

}  // namespace dynamo::apps
