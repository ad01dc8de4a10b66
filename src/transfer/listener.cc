#include "transfer/listener.h"

#include <sys/socket.h>

#include <cerrno>
#include <utility>

#include "base/log.h"

namespace dynamo::transfer {

std::optional<Fd> Listener::accept(uint64_t token) {
  for (;;) {
    Fd socket(::accept4(socket_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!socket.is_open()) {
      if (errno == EINTR || errno == ECONNABORTED) continue;
      if (errno != EAGAIN) pause(exhausted(errno_text("accepting")));
      return std::nullopt;
    }
    if (const Status watched = events_->add(socket.get(), token, EPOLLIN | EPOLLRDHUP); !watched.is_ok()) {
      pause(watched);
      return std::nullopt;
    }
    has_told_ = false;
    return socket;
  }
}

void Listener::pause(const Status& why) {
  if (!std::exchange(has_told_, true))
    LOG(warn, "cannot take connections of other workers; it is tried again", {"why", why.to_string()});
  events_->change(socket_.get(), token_, 0);
  paused_until_ = Clock::steady().now() + kPause;
}

Time Listener::check(Time now) {
  if (now < paused_until_) return paused_until_;
  events_->change(socket_.get(), token_, EPOLLIN);
  return paused_until_ = Time::max();
}

}  // namespace dynamo::transfer
