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
#include <cstring>
#include <utility>

#include "base/log.h"
#include "base/log_output.h"

namespace dynamo::apps {
namespace {

constexpr Duration kFirstPause = std::chrono::milliseconds(500);
constexpr Duration kLongestPause = std::chrono::seconds(30);
constexpr Duration kLongLife =
    std::chrono::minutes(1);  // a child that lived so long is started again without waiting longer

constexpr size_t kLongestLine = size_t{1} << 16;  // a longer one is passed on in pieces

std::string describe(int status) {
  if (WIFSIGNALED(status)) return fmt::format("signal {} ({})", WTERMSIG(status), strsignal(WTERMSIG(status)));
  return fmt::format("exit status {}", WEXITSTATUS(status));
}

// A line of a child, as it is: the child has said when and how grave already.
void pass_on(const std::string& name, std::string_view line) {
  log::write_text(log::is_json() ? fmt::format("{}\n", line) : fmt::format("{} | {}\n", name, line));
}

// The ends of a pipe: what a child writes, its parent reads without waiting. No other process has them, unless it is
// given them.
struct Pipe {
  int read = -1;
  int write = -1;

  Pipe() = default;
  Pipe(const Pipe&) = delete;
  Pipe& operator=(const Pipe&) = delete;
  Status open() {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) return unavailable(fmt::format("no pipe: {}", strerror(errno)));
    read = ends[0];
    write = ends[1];
    fcntl(read, F_SETFL, O_NONBLOCK);
    return {};
  }
  ~Pipe() {
    if (read >= 0) close(read);
    if (write >= 0) close(write);
  }
};

}  // namespace

struct Supervisor::Child {
  ChildOptions options;
  std::string name;  // that it goes by
  pid_t pid = -1;    // -1: not running
  int output = -1;
  std::string partial;  // of a line
  int ready = -1;       // where it tells that it is ready, and its name
  std::string told;     // of a line
  std::string where;    // it is reached
  bool is_ready = false;
  bool has_failed = false;
  std::string end;  // how it ended last
  Time started;
  Duration pause = kFirstPause;
  Time restart_at = Time::max();
};

Supervisor::Supervisor(const StopSignals* signals) {
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
    if (child->ready >= 0) close(child->ready);
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
  Pipe output;
  Pipe ready;
  TRY_STATUS(output.open());
  TRY_STATUS(ready.open());
  // The child does nothing between fork and exec that may take a lock.
  std::vector<std::string> arguments = {"dynamo"};
  arguments.insert(arguments.end(), child->options.arguments.begin(), child->options.arguments.end());
  arguments.insert(arguments.end(), {"--ready-fd", std::to_string(ready.write)});
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
    signal(SIGPIPE, SIG_DFL);
    dup2(output.write, STDOUT_FILENO);
    dup2(output.write, STDERR_FILENO);
    fcntl(ready.write, F_SETFD, 0);
    execv("/proc/self/exe", argv.data());
    _exit(127);
  }
  if (pid < 0) return unavailable(fmt::format("cannot start {}: {}", child->options.name, strerror(errno)));
  if (child->output >= 0) close(child->output);
  if (child->ready >= 0) close(child->ready);
  child->pid = pid;
  child->output = std::exchange(output.read, -1);
  child->partial.clear();
  child->ready = std::exchange(ready.read, -1);
  child->name = child->options.name;
  child->told.clear();
  child->is_ready = false;
  child->started = Clock::steady().now();
  child->restart_at = Time::max();
  return {};
}

bool Supervisor::read_output(Child* child) {
  char bytes[65536];
  const ssize_t count = read(child->output, bytes, sizeof(bytes));
  if (count < 0 && (errno == EINTR || errno == EAGAIN)) return false;
  std::string& text = child->partial;
  if (count > 0) text.append(bytes, static_cast<size_t>(count));
  size_t begin = 0;
  const auto pass = [&](size_t end, size_t next) {
    pass_on(child->name, std::string_view(text).substr(begin, end - begin));
    begin = next;
  };
  for (size_t end; (end = text.find('\n', begin)) != std::string::npos;) pass(end, end + 1);
  while (text.size() - begin >= kLongestLine) pass(begin + kLongestLine, begin + kLongestLine);
  if (count <= 0 && begin < text.size()) pass(text.size(), text.size());
  text.erase(0, begin);
  if (count > 0) return true;
  close(std::exchange(child->output, -1));
  return false;
}

void Supervisor::read_ready(Child* child) {
  char bytes[1024];
  const ssize_t count = read(child->ready, bytes, sizeof(bytes));
  if (count < 0 && (errno == EINTR || errno == EAGAIN)) return;
  if (count <= 0) {
    close(std::exchange(child->ready, -1));
    return;
  }
  child->told.append(bytes, static_cast<size_t>(count));
  for (size_t end; (end = child->told.find('\n')) != std::string::npos; child->told.erase(0, end + 1)) {
    const std::string line = child->told.substr(0, end);
    const size_t space = line.find(' ');
    child->name = line.substr(0, space);
    if (!std::exchange(child->is_ready, true)) child->where = line.substr(space + 1);
  }
}

void Supervisor::reap() {
  for (const auto& child : children_) {
    int status = 0;
    if (child->pid <= 0 || waitpid(child->pid, &status, WNOHANG) != child->pid) continue;
    while (child->output >= 0 && read_output(child.get())) continue;  // its last words
    if (child->ready >= 0) read_ready(child.get());
    child->pid = -1;
    child->end = describe(status);
    child->has_failed = true;
    if (is_stopping_) continue;
    if (!may_restart_) continue;
    const Time now = Clock::steady().now();
    if (now - child->started >= kLongLife) child->pause = kFirstPause;
    child->restart_at = now + child->pause;
    LOG(warn, "a process ended and is started again", {"process", child->name}, {"with", child->end},
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
  const auto watch = [&](int fd) {
    if (fd >= 0) watched.push_back({fd, POLLIN, 0});
  };
  for (const auto& child : children_) {
    watch(child->output);
    watch(child->ready);
  }
  const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(until - Clock::steady().now()).count();
  poll(watched.data(), watched.size(), static_cast<int>(std::clamp<int64_t>(left + 1, 0, 60000)));
  for (const auto& child : children_) {
    if (child->ready >= 0) read_ready(child.get());  // first: what it writes from then on has its name in front
    if (child->output >= 0) read_output(child.get());
  }
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
        return unavailable(fmt::format("{} ended with {}; what it said is above", child->name, child->end));
      is_ready &= child->is_ready;
    }
    if (is_ready) return children_.back()->where;
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
