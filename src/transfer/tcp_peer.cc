#include "transfer/tcp_peer.h"

#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

#include "base/log.h"
#include "transfer/copy_cursor.h"
#include "transfer/tcp_frame.h"

namespace dynamo::transfer {
namespace {

constexpr uint64_t kSliceBytes = 4U << 20;  // of one peer in one poll
constexpr int kPingsPerPatience = 4;
constexpr const char* kCancelledBySender = "cancelled by its sender";

}  // namespace

Status TcpPeer::put(PutId put, std::span<const Copy> copies, std::string notification, PermitId permit) {
  TRY_STATUS(check_put(copies, notification, loop_->options.pool.bytes, metadata_.pool_bytes));
  if (!has_puts()) forgive(Clock::steady().now());
  lanes_.put(put, copies, std::move(notification), permit);
  return {};
}

bool TcpPeer::cancel(PutId put) {
  const TcpOutgoing::Cancelled end = lanes_.cancel(put);
  if (end == TcpOutgoing::Cancelled::kNow) loop_->progress.finished.push_back({put, cancelled(kCancelledBySender)});
  return end != TcpOutgoing::Cancelled::kNo;
}

void TcpPeer::drop() {
  const TcpLanes::Unfinished left = lanes_.take_puts();
  for (const auto* puts : {&left.puts, &left.cancelled})
    for (const PutId put : *puts) loop_->progress.finished.push_back({put, cancelled("the peer was dropped")});
  disconnect();
}

bool TcpPeer::send() {
  if (has_puts()) open_first();
  uint64_t sent = 0;
  // A batch each, in turn, so that a large put is spread evenly while none is blocked.
  for (bool is_moving = true; is_moving && sent < kSliceBytes;) {
    is_moving = false;
    for (auto& [token, connection] : connections_) {
      if (connection.is_connecting || connection.is_blocked) continue;
      const Result<size_t> count = send_batch(&connection);
      if (!count.is_ok()) {
        lose(token, count.status());
        return has_puts();
      }
      sent += *count;
      is_moving |= *count > 0;
    }
  }
  // What it could not be opened for is carried by the others.
  if (wants_another() && !open_one().is_ok()) most_ = connections_.size();
  watch_blocked();
  return sent >= kSliceBytes;
}

void TcpPeer::open_first() {
  const size_t wanted = std::min(loop_->options.tcp.least, most_);
  while (connections_.size() < wanted) {
    const Status status = open_one();
    if (status.is_ok()) continue;
    if (connections_.empty()) return fail(status);
    most_ = connections_.size();
    return;
  }
}

bool TcpPeer::wants_another() const {
  if (connections_.empty() || connections_.size() >= most_ || is_on_this_host_) return false;
  if (lanes_.undealt_bytes() <= TcpLanes::kWholeParts * loop_->options.tcp.part_bytes) return false;
  return std::ranges::all_of(connections_, [](const auto& connection) {
    return connection.second.is_blocked && connection.second.outgoing.is_welcome();
  });
}

Status TcpPeer::open_one() {
  TRY(Fd socket, begin_connect(address_));
  set_options(socket.get(), loop_->options.patience);
  const uint64_t token = loop_->next_id++;
  TRY_STATUS(loop_->events->add(socket.get(), token, EPOLLIN | EPOLLRDHUP | EPOLLOUT));
  loop_->peer_of.emplace(token, this);
  const std::span<const std::byte> pool{loop_->options.pool.data, loop_->options.pool.bytes};
  const Time now = Clock::steady().now();
  Connection opened{.outgoing = TcpOutgoing(hello_of(metadata_.secret), pool),
                    .socket = std::move(socket),
                    .last_life = now,
                    .last_ping = now};
  TcpOutgoing& lane = connections_.emplace(token, std::move(opened)).first->second.outgoing;
  lane.begin();
  lanes_.add(&lane);
  return {};
}

// Returns: how many bytes went; 0 if the connection is blocked, or has nothing to send.
Result<size_t> TcpPeer::send_batch(Connection* connection) {
  const bool was_idle = !connection->outgoing.has_puts();
  const std::span<iovec> parts = lanes_.next_parts(&connection->outgoing);
  if (parts.empty()) return size_t{0};
  if (was_idle) connection->last_life = connection->last_ping = Clock::steady().now();
  msghdr message = {};
  message.msg_iov = parts.data();
  message.msg_iovlen = parts.size();
  ssize_t count = 0;
  do {
    count = ::sendmsg(connection->socket.get(), &message, MSG_NOSIGNAL);
  } while (count < 0 && errno == EINTR);
  if (count < 0 && errno == EAGAIN) {
    connection->is_blocked = true;
    return size_t{0};
  }
  if (count < 0) return unavailable(errno_text("sending"));
  connection->outgoing.sent(static_cast<size_t>(count));
  return static_cast<size_t>(count);
}

void TcpPeer::watch_blocked() {
  for (auto& [token, connection] : connections_) {
    const bool is_waiting = connection.is_connecting || connection.is_blocked;
    if (std::exchange(connection.is_watched, is_waiting) == is_waiting) continue;
    loop_->events->change(connection.socket.get(), token, EPOLLIN | EPOLLRDHUP | (is_waiting ? EPOLLOUT : 0U));
  }
}

void TcpPeer::on_event(uint64_t token, uint32_t events) {
  Connection& connection = connections_.at(token);
  Status status;
  if (connection.is_connecting && (events & (EPOLLOUT | EPOLLERR | EPOLLHUP)) != 0) {
    status = connect_result(connection.socket.get());
    connection.is_connecting = false;
    is_on_this_host_ = is_to_this_host(connection.socket.get());
  }
  if (status.is_ok() && (events & ~uint32_t{EPOLLOUT}) != 0) status = receive_replies(&connection);
  if (!status.is_ok()) return lose(token, status);
  if ((events & EPOLLOUT) != 0) {
    connection.is_blocked = false;
    connection.last_life = Clock::steady().now();  // bytes taken without that are none: its kernel takes some by itself
  }
  send();
}

Status TcpPeer::receive_replies(Connection* connection) {
  std::array<char, 16384> bytes;
  const ssize_t count = ::recv(connection->socket.get(), bytes.data(), bytes.size(), 0);
  if (count < 0 && (errno == EAGAIN || errno == EINTR)) return {};
  if (count < 0) return unavailable(errno_text("receiving"));
  if (count == 0) return unavailable("the peer hung up");
  connection->last_life = Clock::steady().now();
  std::vector<PutId> acknowledged, cancelled_puts;
  const std::string_view received(bytes.data(), static_cast<size_t>(count));
  const Status status = lanes_.received(&connection->outgoing, received, &acknowledged, &cancelled_puts);
  for (const PutId put : acknowledged) loop_->progress.finished.push_back({put, Status()});
  for (const PutId put : cancelled_puts) loop_->progress.finished.push_back({put, cancelled(kCancelledBySender)});
  return status;
}

Time TcpPeer::check_patience(Time now) {
  const Duration pause = loop_->options.patience / kPingsPerPatience;
  Time next = Time::max();
  for (auto& [token, connection] : connections_) {
    if (!connection.outgoing.has_puts() && connection.outgoing.is_welcome()) continue;
    const Time due = connection.last_life + loop_->options.patience;
    if (now >= due) {
      lose(token, unavailable("no sign of life"));
      return now;
    }
    if (now >= std::max(connection.last_life, connection.last_ping) + pause) {
      connection.last_ping = now;
      connection.outgoing.ping();
      next = now;  // to send it
    }
    next = std::min({next, due, std::max(connection.last_life, connection.last_ping) + pause});
  }
  return next;
}

void TcpPeer::forgive(Time now) {
  for (auto& [token, connection] : connections_) {
    connection.last_life = now;
    connection.last_ping = now;
  }
}

void TcpPeer::lose(uint64_t token, const Status& why) {
  const TcpOutgoing& outgoing = connections_.at(token).outgoing;
  if (connections_.size() == 1 || outgoing.has_puts()) return fail(why);
  LOG(info, "connection lost", {"backend", "tcp"}, {"peer", metadata_.name}, {"id", id_}, {"why", why.to_string()});
  if (!outgoing.is_welcome()) most_ = connections_.size() - 1;
  close(token);
}

void TcpPeer::fail(const Status& why) {
  LOG(info, "peer lost", {"backend", "tcp"}, {"peer", metadata_.name}, {"id", id_}, {"why", why.to_string()});
  std::vector<FinishedPut>& finished = loop_->progress.finished;
  const TcpLanes::Unfinished left = lanes_.take_puts();
  for (const PutId put : left.puts) finished.push_back({put, unavailable(why.text()).with(metadata_.name)});
  for (const PutId put : left.cancelled) finished.push_back({put, cancelled(kCancelledBySender)});
  disconnect();
}

void TcpPeer::close(uint64_t token) {
  const auto found = connections_.find(token);
  lanes_.remove(&found->second.outgoing);
  loop_->events->remove(found->second.socket.get());
  loop_->peer_of.erase(token);
  connections_.erase(found);
}

void TcpPeer::disconnect() {
  for (auto& [token, connection] : connections_) {
    loop_->events->remove(connection.socket.get());
    loop_->peer_of.erase(token);
  }
  connections_.clear();
  most_ = loop_->options.tcp.most;
}

}  // namespace dynamo::transfer
