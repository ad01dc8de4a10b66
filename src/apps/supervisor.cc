#include "apps/supervisor.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "base/log.h"

namespace dynamo::apps {
namespace {

constexpr Duration kFirstPause = std::chrono::milliseconds(500);
constexpr Duration kLongestPause = std::chrono::seconds(30);
constexpr Duration kLongLife =
    std::chrono::minutes(1);  // a child that lived so long is started again without waiting longer

std::string describe(int status) {
  if (WIFSIGNALED(status)) return fmt::format("signal {} ({})", WTERMSIG(status), strsignal(WTERMSIG(status)));
  return fmt::format("exit status {}", WEXITSTATUS(status));
}

// A line of a child, as it is: the child has said when and how grave already.
void pass_on(const std::string& name, const std::string& line) {
  const char* json = std::getenv("DYN_LOGGING_JSONL");
  const bool is_json = json != nullptr && std::string_view(json) != "0" && std::string_view(json) != "";
  const std::string text = is_json ? line + "\n" : fmt::format("{} | {}\n", name, line);
  [[maybe_unused]] const ssize_t written = write(STDERR_FILENO, text.data(), text.size());
}

}  // namespace

struct Supervisor::Child {
  ChildOptions options;
  pid_t pid = -1;  // -1: not running
  int output = -1;
  std::string partial;  // of a line
  bool is_ready = false;
  std::string ready_line;
  bool has_failed = false;
  std::string end;  // how it ended last
  Time started;
  Duration pause = kFirstPause;
  Time restart_at = Time::max();
};

Supervisor::Supervisor(const StopSignals* signals) : signals_(signals) {
  sigset_t taken = signals->set();
  sigaddset(&taken, SIGCHLD);
  pthread_sigmask(SIG_BLOCK, &taken, nullptr);
  signal_fd_ = signalfd(-1, &taken, SFD_CLOEXEC | SFD_NONBLOCK);
  CHECK(signal_fd_ >= 0);
}

Supervisor::~Supervisor() {
  for (const auto& child : children_) {
    if (child->pid > 0) {
      kill(child->pid, SIGKILL);
      waitpid(child->pid, nullptr, 0);
    }
    if (child->output >= 0) close(child->output);
  }
  close(signal_fd_);
}

Status Supervisor::start(ChildOptions options) {
  auto child = std::make_unique<Child>();
  child->options = std::move(options);
  TRY_STATUS(spawn(child.get()));
  children_.push_back(std::move(child));
  return {};
}

void Supervisor::set_arguments(const std::string& name, std::vector<std::string> arguments) {
  for (const auto& child : children_)
    if (child->options.name == name) child->options.arguments = arguments;
}

Status Supervisor::spawn(Child* child) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return unavailable(fmt::format("no pipe: {}", strerror(errno)));
  // The child does nothing between fork and exec that may take a lock.
  std::vector<std::string> arguments = {"dynamo"};
  arguments.insert(arguments.end(), child->options.arguments.begin(), child->options.arguments.end());
  std::vector<char*> argv;
  for (std::string& argument : arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);
  sigset_t none;
  sigemptyset(&none);
  const pid_t parent = getpid();
  const pid_t pid = fork();
  if (pid == 0) {
    setpgid(0, 0);  // Ctrl-C is for the supervisor
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent) _exit(1);
    sigprocmask(SIG_SETMASK, &none, nullptr);
    dup2(ends[1], STDOUT_FILENO);
    dup2(ends[1], STDERR_FILENO);
    execv("/proc/self/exe", argv.data());
    _exit(127);
  }
  close(ends[1]);
  if (pid < 0) {
    close(ends[0]);
    return unavailable(fmt::format("cannot start {}: {}", child->options.name, strerror(errno)));
  }
  fcntl(ends[0], F_SETFL, O_NONBLOCK);
  if (child->output >= 0) close(child->output);
  child->pid = pid;
  child->output = ends[0];
  child->partial.clear();
  child->is_ready = child->options.ready_text.empty();
  child->started = Clock::steady().now();
  child->restart_at = Time::max();
  return {};
}

void Supervisor::take_line(Child* child, const std::string& line) {
  pass_on(child->options.name, line);
  if (child->is_ready || line.find(child->options.ready_text) == std::string::npos) return;
  child->is_ready = true;
  child->ready_line = line;
}

void Supervisor::read_output(Child* child) {
  char bytes[16384];
  for (;;) {
    const ssize_t count = read(child->output, bytes, sizeof(bytes));
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) {
      if (count < 0 && errno == EAGAIN) return;
      if (!child->partial.empty()) take_line(child, std::exchange(child->partial, {}));
      close(child->output);
      child->output = -1;
      return;
    }
    child->partial.append(bytes, static_cast<size_t>(count));
    for (size_t end; (end = child->partial.find('\n')) != std::string::npos;) {
      const std::string line = child->partial.substr(0, end);
      child->partial.erase(0, end + 1);
      take_line(child, line);
    }
  }
}

void Supervisor::reap() {
  for (const auto& child : children_) {
    int status = 0;
    if (child->pid <= 0 || waitpid(child->pid, &status, WNOHANG) != child->pid) continue;
    if (child->output >= 0) read_output(child.get());  // its last words
    child->pid = -1;
    child->end = describe(status);
    child->has_failed = true;
    if (is_stopping_) continue;
    if (!may_restart_) continue;
    const Time now = Clock::steady().now();
    if (now - child->started >= kLongLife) child->pause = kFirstPause;
    child->restart_at = now + child->pause;
    LOG(warn, "a process ended and is started again", {"process", child->options.name}, {"with", child->end},
        {"after", fmt::format("{} ms", std::chrono::duration_cast<std::chrono::milliseconds>(child->pause).count())});
    child->pause = std::min<Duration>(child->pause * 2, kLongestPause);
  }
}

void Supervisor::restart_due() {
  const Time now = Clock::steady().now();
  for (const auto& child : children_) {
    if (child->pid > 0 || child->restart_at > now) continue;
    const Status status = spawn(child.get());
    if (status.is_ok()) continue;
    LOG(error, "a process could not be started", {"process", child->options.name}, {"why", status.to_string()});
    child->restart_at = now + child->pause;
  }
}

int Supervisor::turn(Time until) {
  for (const auto& child : children_) until = std::min(until, child->restart_at);
  std::vector<pollfd> watched = {{signal_fd_, POLLIN, 0}};
  std::vector<Child*> owners = {nullptr};
  for (const auto& child : children_) {
    if (child->output < 0) continue;
    watched.push_back({child->output, POLLIN, 0});
    owners.push_back(child.get());
  }
  const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(until - Clock::steady().now()).count();
  poll(watched.data(), watched.size(), static_cast<int>(std::clamp<int64_t>(left + 1, 0, 60000)));
  for (size_t i = 1; i < watched.size(); ++i)
    if (watched[i].revents != 0) read_output(owners[i]);
  int taken = 0;
  signalfd_siginfo info;
  while (read(signal_fd_, &info, sizeof(info)) == sizeof(info)) {
    if (info.ssi_signo == SIGCHLD) continue;
    taken = static_cast<int>(info.ssi_signo);
    break;
  }
  reap();
  if (!is_stopping_) restart_due();
  return taken;
}

Result<std::string> Supervisor::wait_until_ready(Time until) {
  for (;;) {
    bool is_ready = true;
    for (const auto& child : children_) {
      if (child->has_failed)
        return unavailable(fmt::format("{} ended with {}; what it said is above", child->options.name, child->end));
      is_ready &= child->is_ready;
    }
    if (is_ready) return children_.back()->ready_line;
    if (Clock::steady().now() >= until) return deadline("not all processes were ready in time");
    if (turn(until) != 0) return cancelled("stopped before all was ready");
  }
}

int Supervisor::run() {
  may_restart_ = true;
  for (;;)
    if (const int signal = turn(Time::max()); signal != 0) return signal;
}

void Supervisor::stop() {
  is_stopping_ = true;
  for (auto child = children_.rbegin(); child != children_.rend(); ++child) {
    if ((*child)->pid <= 0) continue;
    kill((*child)->pid, SIGTERM);
    const Time limit = Clock::steady().now() + (*child)->options.stop_limit;
    while ((*child)->pid > 0) {
      if (Clock::steady().now() >= limit) kill((*child)->pid, SIGKILL);
      const int signal = turn(std::max(limit, Clock::steady().now() + std::chrono::milliseconds(50)));
      if (signal == 0) continue;
      for (const auto& other : children_)
        if (other->pid > 0) kill(other->pid, SIGKILL);
      _exit(128 + signal);
    }
  }
}

}  // namespace dynamo::apps
