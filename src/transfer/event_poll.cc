#include "transfer/event_poll.h"

#include <sys/eventfd.h>
#include <sys/random.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include <fmt/format.h>

namespace dynamo::transfer {

Fd& Fd::operator=(Fd&& other) noexcept {
  std::swap(fd_, other.fd_);
  return *this;
}

int Fd::release() {
  return std::exchange(fd_, -1);
}

void Fd::reset() {
  if (fd_ >= 0) ::close(release());
}

Result<std::unique_ptr<EventPoll>> EventPoll::open() {
  Fd epoll(::epoll_create1(EPOLL_CLOEXEC));
  Fd bell(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!epoll.is_open() || !bell.is_open()) return exhausted(errno_text("opening an epoll"));
  std::unique_ptr<EventPoll> poll(
      new EventPoll(std::move(epoll), std::move(bell)));  // NOLINT: its constructor is private
  TRY_STATUS(poll->add(poll->bell_.get(), kNoToken, EPOLLIN));
  return poll;
}

Status EventPoll::add(int fd, uint64_t token, uint32_t events) {
  epoll_event event = {};
  event.events = events;
  event.data.u64 = token;
  if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) == 0) return {};
  return exhausted(errno_text("watching a descriptor"));
}

// Unlike adding, neither of these takes memory: what fails here is not known to the epoll.
void EventPoll::change(int fd, uint64_t token, uint32_t events) {
  epoll_event event = {};
  event.events = events;
  event.data.u64 = token;
  CHECK(::epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, fd, &event) == 0);
}

void EventPoll::remove(int fd) {
  CHECK(::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr) == 0);
}

std::span<const epoll_event> EventPoll::wait(Time until) {
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - Clock::steady().now()).count();
  const int timeout = static_cast<int>(std::clamp<int64_t>(left, 0, 3'600'000));
  const int count = ::epoll_wait(epoll_.get(), events_.data(), static_cast<int>(events_.size()), timeout);
  if (count <= 0) return {};
  auto* const end = std::remove_if(events_.data(), events_.data() + count, [this](const epoll_event& event) {
    uint64_t rings = 0;
    if (event.data.u64 != kNoToken) return false;
    [[maybe_unused]] const auto ignored = ::read(bell_.get(), &rings, sizeof(rings));
    return true;
  });
  return {events_.data(), end};
}

void EventPoll::wake() {
  const uint64_t one = 1;
  [[maybe_unused]] const auto ignored = ::write(bell_.get(), &one, sizeof(one));  // fails only if it rings already
}

std::string errno_text(std::string_view doing) {
  return fmt::format("{}: {}", doing, std::strerror(errno));
}

std::string random_bytes(size_t bytes) {
  std::string out(bytes, '\0');
  CHECK(::getrandom(out.data(), bytes, 0) == static_cast<ssize_t>(bytes));
  return out;
}

}  // namespace dynamo::transfer
