#include "transfer/testing/forked_end.h"

#include <fcntl.h>
#include <signal.h>
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
      words >> pours_;
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
    (void)end_.transport().put(peer, std::span(&all, 1), "poured").is_ok();
  }

  End end_;
  uint64_t pours_ = 0;
};

// The other end of every pipe and socket of the parent's would live on here.
[[noreturn]] void become_child(const Backend& backend, size_t pool_bytes, int in, int out, pid_t parent) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) ::_exit(126);
  const int far_in = ::fcntl(in, F_DUPFD, 100);
  const int far_out = ::fcntl(out, F_DUPFD, 100);
  ::dup2(far_in, kIn);
  ::dup2(far_out, kOut);
  ::close_range(kOut + 1, ~0U, 0);
  Child(backend, pool_bytes).run();
}

}  // namespace

ForkedEnd::ForkedEnd(const Backend& backend, size_t pool_bytes, End* home) {
  std::array<int, 2> to = {};
  std::array<int, 2> from = {};
  CHECK(::pipe2(to.data(), O_CLOEXEC) == 0 && ::pipe2(from.data(), O_CLOEXEC) == 0);
  const pid_t parent = ::getpid();
  process_ = ::fork();
  CHECK(process_ >= 0);
  if (process_ == 0) become_child(backend, pool_bytes, to[0], from[1], parent);
  ::close(to[0]);
  ::close(from[1]);
  auto peer = home->transport().add_peer(read_text(from[0]));
  CHECK_OK(peer);
  peer_ = *peer;
  write_text(to[1], home->transport().metadata());
  ::close(to[1]);
  ::close(from[0]);
}

ForkedEnd::~ForkedEnd() {
  if (process_ > 0) kill();
}

void ForkedEnd::hang() {
  ::kill(process_, SIGSTOP);
  ::waitpid(process_, nullptr, WUNTRACED);
}

void ForkedEnd::resume() {
  ::kill(process_, SIGCONT);
}

void ForkedEnd::kill() {
  ::kill(process_, SIGKILL);
  ::waitpid(process_, nullptr, 0);
  process_ = -1;
}

}  // namespace dynamo::transfer
