#include "apps/stop_signals.h"

#include <pthread.h>
#include <unistd.h>

namespace dynamo::apps {

StopSignals::StopSignals() {
  sigemptyset(&signals_);
  sigaddset(&signals_, SIGINT);
  sigaddset(&signals_, SIGTERM);
  sigaddset(&signals_, SIGHUP);  // the terminal was closed
  pthread_sigmask(SIG_BLOCK, &signals_, nullptr);
}

int StopSignals::wait() const {
  int signal = 0;
  sigwait(&signals_, &signal);
  return signal;
}

bool StopSignals::is_pending() const {
  sigset_t pending;
  sigpending(&pending);
  return sigismember(&pending, SIGINT) == 1 || sigismember(&pending, SIGTERM) == 1 ||
         sigismember(&pending, SIGHUP) == 1;
}

void StopSignals::release() const {
  struct sigaction at_once{};
  at_once.sa_handler = [](int signal) { _exit(128 + signal); };
  sigaction(SIGINT, &at_once, nullptr);
  sigaction(SIGTERM, &at_once, nullptr);
  sigaction(SIGHUP, &at_once, nullptr);
  pthread_sigmask(SIG_UNBLOCK, &signals_, nullptr);
}

}  // namespace dynamo::apps
