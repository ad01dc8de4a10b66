#include "transfer/testing/child_end.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <sstream>

#include <fmt/format.h>

#include "base/check.h"

namespace dynamo::transfer {
namespace {

constexpr int kIn = 3;
constexpr int kOut = 4;
constexpr const char* kPoolVariable = "DYNAMO_TEST_CHILD_POOL_BYTES";  // set for the child alone

void write_all(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t count = ::write(fd, bytes.data(), bytes.size());
    CHECK(count > 0);
    bytes.remove_prefix(static_cast<size_t>(count));
  }
}

std::string read_all(int fd, size_t bytes) {
  std::string read(bytes, '\0');
  for (size_t at = 0; at < bytes;) {
    const ssize_t count = ::read(fd, read.data() + at, bytes - at);
    CHECK(count > 0);
    at += static_cast<size_t>(count);
  }
  return read;
}

void write_text(int fd, std::string_view text) {
  const uint64_t size = text.size();
  write_all(fd, {reinterpret_cast<const char*>(&size), sizeof(size)});
  write_all(fd, text);
}

std::string read_text(int fd) {
  uint64_t size = 0;
  std::memcpy(&size, read_all(fd, sizeof(size)).data(), sizeof(size));
  return read_all(fd, size);
}

class Child {
 public:
  Child(const Backend& backend, size_t pool_bytes) : end_(backend, pool_bytes, fmt::format("child-{}", ::getpid())) {}

  [[noreturn]] void run() {
    write_text(kOut, end_.transport().metadata());
    auto peer = end_.transport().add_peer(read_text(kIn));
    CHECK_OK(peer);
    for (;;) {
      end_.poll(Clock::steady().now() + std::chrono::milliseconds(50));
      for (const std::string& notification : std::exchange(end_.notifications, {})) answer(*peer, notification);
      if (pours_ > 0 && !end_.finished.empty()) pour(*peer);
      end_.finished.clear();
    }
  }

 private:
  void answer(PeerId peer, const std::string& notification) {
    std::istringstream words(notification);
    std::string verb;
    words >> verb;
    if (verb == "pour") {
      words >> pours_ >> permit_;
      pour(peer);
    }
    if (verb != "check") return;
    uint64_t first = 0, count = 0, bytes = 0, seed = 0;
    words >> first >> count >> bytes >> seed;
    bool is_good = true;
    for (uint64_t block = first; block < first + count; ++block)
      is_good = is_good && holds(end_.data() + block * bytes, bytes, seed + block);
    (void)end_.transport().put(peer, {}, is_good ? "good" : "bad").is_ok();  // ours may be gone
  }
  void pour(PeerId peer) {
    const Copy all{0, 0, pours_};
    (void)end_.transport().put(peer, std::span(&all, 1), "poured", permit_).is_ok();
  }

  End end_;
  uint64_t pours_ = 0;
  PermitId permit_ = kNoPermit;
};

// Both ends above kOut, so that they are not in the child's way.
class Pipe {
 public:
  Pipe() {
    CHECK(::pipe2(fds_.data(), O_CLOEXEC) == 0);
    for (int& fd : fds_) {
      const int low = std::exchange(fd, ::fcntl(fd, F_DUPFD_CLOEXEC, kOut + 1));
      ::close(low);
      CHECK(fd > kOut);
    }
  }
  ~Pipe() {
    for (const int fd : fds_) ::close(fd);
  }
  Pipe(const Pipe&) = delete;
  Pipe& operator=(const Pipe&) = delete;
  int read_end() const { return fds_[0]; }
  int write_end() const { return fds_[1]; }

 private:
  std::array<int, 2> fds_ = {};
};

pid_t spawn_child(const std::string& backend, size_t pool_bytes, int in, int out) {
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_adddup2(&actions, in, kIn);
  ::posix_spawn_file_actions_adddup2(&actions, out, kOut);
  // The other end of every socket of the parent's would live on there.
  ::posix_spawn_file_actions_addclosefrom_np(&actions, kOut + 1);
  std::vector<char*> environment;
  for (char** one = environ; *one != nullptr; ++one) environment.push_back(*one);
  std::string variable = fmt::format("{}={}", kPoolVariable, pool_bytes);
  environment.push_back(variable.data());
  environment.push_back(nullptr);
  std::string name = "child_end";
  std::string filter = fmt::format("--gtest_filter=*/Conformance.DISABLED_ServesAChildEnd/{}", backend);
  std::string also_disabled = "--gtest_also_run_disabled_tests";
  std::string is_brief = "--gtest_brief=1";
  std::array<char*, 5> arguments{name.data(), filter.data(), also_disabled.data(), is_brief.data(), nullptr};
  pid_t process = -1;
  CHECK(::posix_spawn(&process, "/proc/self/exe", &actions, nullptr, arguments.data(), environment.data()) == 0);
  ::posix_spawn_file_actions_destroy(&actions);
  return process;
}

}  // namespace

bool is_child_end() {
  return std::getenv(kPoolVariable) != nullptr;
}

void serve_child_end(const Backend& backend) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);  // a parent that has ended already is noticed by the pipes
  Child(backend, std::stoull(std::getenv(kPoolVariable))).run();
}

ChildEnd::ChildEnd(const Backend& backend, size_t pool_bytes, End* home) {
  const Pipe to;
  const Pipe from;
  process_ = spawn_child(backend.name, pool_bytes, to.read_end(), from.write_end());
  auto peer = home->transport().add_peer(read_text(from.read_end()));
  CHECK_OK(peer);
  peer_ = *peer;
  write_text(to.write_end(), home->transport().metadata());
}

ChildEnd::~ChildEnd() {
  if (process_ > 0) kill();
}

void ChildEnd::hang() {
  ::kill(process_, SIGSTOP);
  ::waitpid(process_, nullptr, WUNTRACED);
}

void ChildEnd::resume() {
  ::kill(process_, SIGCONT);
}

void ChildEnd::kill() {
  ::kill(process_, SIGKILL);
  ::waitpid(process_, nullptr, 0);
  process_ = -1;
}

}  // namespace dynamo::transfer
