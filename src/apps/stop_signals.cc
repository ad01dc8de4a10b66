#include "apps/stop_signals.h"

#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>

#include "base/check.h"
#include "base/log.h"
#include "base/log_output.h"

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

int StopSignals::wait_for(Duration limit) const {
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(limit);
  const timespec time{.tv_sec = seconds.count(), .tv_nsec = std::chrono::nanoseconds(limit - seconds).count()};
  return std::max(sigtimedwait(&signals_, nullptr, &time), 0);
}

void StopSignals::release() const {
  struct sigaction at_once{};
  at_once.sa_handler = [](int signal) { _exit(128 + signal); };
  sigaction(SIGINT, &at_once, nullptr);
  sigaction(SIGTERM, &at_once, nullptr);
  sigaction(SIGHUP, &at_once, nullptr);
  pthread_sigmask(SIG_UNBLOCK, &signals_, nullptr);
}

EndsWhileStarting::EndsWhileStarting(const StopSignals* signals)
    : signal_fd_(signalfd(-1, &signals->set(), SFD_CLOEXEC)), started_fd_(eventfd(0, EFD_CLOEXEC)) {
  CHECK(signal_fd_ >= 0 && started_fd_ >= 0);
  thread_ = std::thread([this] {
    pollfd watched[] = {{signal_fd_, POLLIN, 0}, {started_fd_, POLLIN, 0}};
    while (poll(watched, 2, -1) < 0) continue;
    if (watched[1].revents != 0) return;
    signalfd_siginfo taken{};
    if (read(signal_fd_, &taken, sizeof(taken)) != sizeof(taken)) return;
    LOG(info, "stopped while starting", {"signal", taken.ssi_signo});
    log::flush();
    std::_Exit(0);
  });
}

EndsWhileStarting::~EndsWhileStarting() {
  const uint64_t one = 1;
  CHECK(write(started_fd_, &one, sizeof(one)) == sizeof(one));
  thread_.join();
  close(signal_fd_);
  close(started_fd_);
}

}  // namespace dynamo::apps
