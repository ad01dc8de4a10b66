// What a transfer thread waits on: its sockets, and whoever wakes it.
// Threads: one, for everything but wake().  Private to the module.
#pragma once

#include <sys/epoll.h>

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "base/clock.h"
#include "base/status.h"

namespace dynamo::transfer {

// Owns a file descriptor.
class Fd {
 public:
  Fd() = default;
  explicit Fd(int fd) : fd_(fd) {}
  Fd(Fd&& other) noexcept : fd_(other.release()) {}
  Fd& operator=(Fd&& other) noexcept;
  ~Fd() { reset(); }

  int get() const { return fd_; }
  bool is_open() const { return fd_ >= 0; }
  int release();
  void reset();

 private:
  int fd_ = -1;
};

class EventPoll {
 public:
  static constexpr uint64_t kNoToken = 0;  // an event that only wakes

  // Errors: kExhausted (no file descriptors left).
  static Result<std::unique_ptr<EventPoll>> open();

  // `token` comes back with events of `fd`; not kNoToken. Errors: kExhausted (the system watches no more).
  Status add(int fd, uint64_t token, uint32_t events);
  // Requires: add() took `fd`.
  void change(int fd, uint64_t token, uint32_t events);
  void remove(int fd);  // before it is closed: another process may hold it too

  // Waits for events until `until`, in whole milliseconds, rounded up. Returns: them; empty if it was woken, or the time came.
  // Valid until the next call.
  std::span<const epoll_event> wait(Time until);
  void wake();  // from any thread
  // What to write 8 bytes of 1 to for a wake(), from any process.
  int bell() const { return bell_.get(); }

 private:
  EventPoll(Fd epoll, Fd bell) : epoll_(std::move(epoll)), bell_(std::move(bell)) {}

  Fd epoll_;
  Fd bell_;
  std::array<epoll_event, 64> events_ = {};
};

// "getting 3 things: No such file", from errno.
std::string errno_text(std::string_view doing);
// Bytes that nobody can guess.
std::string random_bytes(size_t bytes);

}  // namespace dynamo::transfer
