// Backend "tcp": ends of any two hosts. A peer has one connection, opened by the end that puts, with the first put; what lies on it
// is in transfer/tcp_frame.h. Data is sent from the pool and received into the pool, without a copy of ours between.
//
// A put is through when the receiver acknowledged it, which it does in its poll. A peer that acknowledges nothing, answers no ping and
// takes no bytes for `patience` is gone; the next put connects again.
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <map>
#include <optional>
#include <utility>

#include <fmt/format.h>

#include "base/check.h"
#include "base/log.h"
#include "transfer/copy_cursor.h"
#include "transfer/end_metadata.h"
#include "transfer/event_poll.h"
#include "transfer/kv_transport.h"
#include "transfer/tcp_incoming.h"
#include "transfer/tcp_outgoing.h"
#include "transfer/tcp_socket.h"
#include "transfer/write_permits.h"

namespace dynamo::transfer {
namespace {

constexpr uint64_t kListener = 1;                // token of the listening socket; peers and senders follow
constexpr uint64_t kSliceBytes = 4U << 20;       // of one connection in one poll
constexpr size_t kMostUnsentReplies = 1U << 20;  // bytes; a sender that reads none of them is closed
constexpr ptrdiff_t kMostUngreeted = 64;         // connections without a hello
constexpr int kPingsPerPatience = 4;
constexpr const char* kCancelledBySender = "cancelled by its sender";

struct Peer {
  TcpMetadata metadata;
  SocketAddress address;
  TcpOutgoing outgoing;
  Fd socket;
  bool is_connecting = false;
  bool is_blocked = false;  // the socket takes no more
  Time last_life;
  Time last_ping;
};

// Who writes here.
struct Sender {
  Fd socket;
  TcpIncoming incoming;
  std::string replies;  // not sent yet
  Time since;
};

class TcpTransport final : public KvTransport {
 public:
  TcpTransport(TransportOptions options, std::unique_ptr<EventPoll> events, Fd listener, const TcpMetadata& own)
      : options_(std::move(options)),
        events_(std::move(events)),
        listener_(std::move(listener)),
        hello_(hello_of(own.secret)),
        metadata_(own.to_bytes()) {
    events_->add(listener_.get(), kListener, EPOLLIN);
  }
  ~TcpTransport() override {
    if (writer_number_) options_.permits->remove_writer(*writer_number_);
  }
  // Before anything else. Errors: kExhausted.
  Status open() {
    if (options_.permits == nullptr) return {};
    writer_number_ = options_.permits->add_writer();
    if (!writer_number_) return exhausted("the pool's permits have no writer left");
    writer_ = options_.permits->writer(*writer_number_);
    return {};
  }

  std::string_view backend() const override { return "tcp"; }
  bool keeps_permits() const override { return true; }
  const std::string& metadata() const override { return metadata_; }
  Result<PeerId> add_peer(std::string_view metadata) override;
  void drop_peer(PeerId peer) override;
  Result<PutId> put(PeerId peer, std::span<const Copy> copies, std::string notification, PermitId permit) override;
  void cancel(PutId put) override;
  Progress poll(Time until) override;
  void wake() override { events_->wake(); }

 private:
  std::span<std::byte> pool() const { return {options_.pool.data, options_.pool.bytes}; }
  void finish(PutId put, Status status) { progress_.finished.push_back({put, std::move(status)}); }

  Status connect(PeerId id, Peer* peer);
  void disconnect(Peer* peer);
  void fail(PeerId id, Peer* peer, const Status& why);
  bool send_all();
  Result<bool> send(PeerId id, Peer* peer);
  void set_blocked(PeerId id, Peer* peer, bool is_blocked);
  Time check_patience(Time now);
  void on_peer_event(PeerId id, Peer* peer, uint32_t events);
  Status receive_replies(Peer* peer);

  void accept_all();
  void on_sender_event(uint64_t id, Sender* sender);
  Status receive(Sender* sender);
  Status send_replies(uint64_t id, Sender* sender);
  void remove_sender(uint64_t id);

  const TransportOptions options_;
  const std::unique_ptr<EventPoll> events_;
  const Fd listener_;
  const std::string hello_;  // that this end expects
  const std::string metadata_;
  std::optional<uint32_t> writer_number_;
  PermitWriter writer_;               // this end is who writes what it receives
  uint64_t next_id_ = kListener + 1;  // of peers and senders: tokens
  PutId next_put_ = 1;
  std::map<PeerId, Peer> peers_;
  std::map<uint64_t, Sender> senders_;
  Progress progress_;  // since the last poll
  Time last_poll_;     // its end
};

Result<PeerId> TcpTransport::add_peer(std::string_view metadata) {
  TRY(TcpMetadata parsed, TcpMetadata::parse(metadata));
  if (metadata == metadata_) return unsupported("this metadata is our own; an end is no peer of itself");
  auto address = SocketAddress::of_number(parsed.host, parsed.port);
  if (!address.is_ok()) return corrupt(address.status().text());
  const PeerId id = next_id_++;
  TcpOutgoing outgoing(hello_of(parsed.secret), pool());
  peers_.emplace(id, Peer{std::move(parsed), *address, std::move(outgoing), Fd(), false, false, {}, {}});
  return id;
}

void TcpTransport::drop_peer(PeerId peer) {
  const auto found = peers_.find(peer);
  if (found == peers_.end()) return;
  const TcpOutgoing::Unfinished left = found->second.outgoing.take_puts();
  for (const auto* puts : {&left.puts, &left.cancelled})
    for (const PutId put : *puts) finish(put, cancelled("the peer was dropped"));
  disconnect(&found->second);
  peers_.erase(found);
}

Result<PutId> TcpTransport::put(PeerId id, std::span<const Copy> copies, std::string notification, PermitId permit) {
  const auto found = peers_.find(id);
  if (found == peers_.end()) return not_found(fmt::format("no peer {}", id));
  Peer& peer = found->second;
  TRY_STATUS(check_put(copies, notification, options_.pool.bytes, peer.metadata.pool_bytes));
  if (!peer.outgoing.has_puts()) {
    peer.last_life = Clock::steady().now();
    peer.last_ping = peer.last_life;
  }
  peer.outgoing.put(next_put_, copies, std::move(notification), permit);
  return next_put_++;
}

void TcpTransport::cancel(PutId put) {
  for (auto& [id, peer] : peers_) {
    const TcpOutgoing::Cancelled end = peer.outgoing.cancel(put);
    if (end == TcpOutgoing::Cancelled::kNow) finish(put, cancelled(kCancelledBySender));
    if (end != TcpOutgoing::Cancelled::kNo) return;
  }
}

// A round of sending, one wait, and what came.
Progress TcpTransport::poll(Time until) {
  const bool is_busy = send_all();
  const Time now = Clock::steady().now();
  until = std::min(until, check_patience(now));
  if (is_busy || !progress_.finished.empty()) until = now;
  for (const epoll_event& event : events_->wait(until)) {
    const uint64_t token = event.data.u64;
    if (token == kListener) {
      accept_all();
    } else if (const auto peer = peers_.find(token); peer != peers_.end()) {
      on_peer_event(token, &peer->second, event.events);
    } else if (const auto sender = senders_.find(token); sender != senders_.end()) {
      on_sender_event(token, &sender->second);
    }
  }
  last_poll_ = Clock::steady().now();
  return std::exchange(progress_, {});
}

// Returns: whether there is more to send at once.
bool TcpTransport::send_all() {
  bool is_busy = false;
  for (auto& [id, peer] : peers_) {
    if (!peer.outgoing.has_puts() || peer.is_connecting || peer.is_blocked) continue;
    auto is_left = peer.socket.is_open() ? send(id, &peer) : Result<bool>(false);
    Status status = is_left.status();
    if (!peer.socket.is_open()) status = connect(id, &peer);
    if (!status.is_ok()) fail(id, &peer, status);
    is_busy |= status.is_ok() && *is_left;
  }
  return is_busy;
}

// Returns: whether there is more to send at once.
Result<bool> TcpTransport::send(PeerId id, Peer* peer) {
  for (uint64_t total = 0; total < kSliceBytes;) {
    const std::span<iovec> parts = peer->outgoing.next_parts();
    if (parts.empty()) {
      set_blocked(id, peer, false);
      return false;
    }
    msghdr message = {};
    message.msg_iov = parts.data();
    message.msg_iovlen = parts.size();
    const ssize_t count = ::sendmsg(peer->socket.get(), &message, MSG_NOSIGNAL);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0 && errno == EAGAIN) {
      set_blocked(id, peer, true);
      return false;
    }
    if (count < 0) return unavailable(errno_text("sending"));
    peer->outgoing.sent(static_cast<size_t>(count));
    peer->last_life = Clock::steady().now();
    total += static_cast<uint64_t>(count);
  }
  set_blocked(id, peer, false);
  return true;
}

void TcpTransport::set_blocked(PeerId id, Peer* peer, bool is_blocked) {
  if (peer->is_blocked == is_blocked) return;
  peer->is_blocked = is_blocked;
  events_->change(peer->socket.get(), id, EPOLLIN | EPOLLRDHUP | (is_blocked ? EPOLLOUT : 0U));
}

Status TcpTransport::connect(PeerId id, Peer* peer) {
  TRY(peer->socket, begin_connect(peer->address));
  set_options(peer->socket.get(), options_.patience);
  events_->add(peer->socket.get(), id, EPOLLIN | EPOLLRDHUP | EPOLLOUT);
  peer->is_connecting = true;
  peer->is_blocked = true;
  peer->outgoing.begin();
  return {};
}

void TcpTransport::disconnect(Peer* peer) {
  if (peer->socket.is_open()) events_->remove(peer->socket.get());
  peer->socket.reset();
  peer->is_connecting = false;
  peer->is_blocked = false;
}

void TcpTransport::fail(PeerId id, Peer* peer, const Status& why) {
  LOG(info, "peer lost", {"backend", "tcp"}, {"peer", peer->metadata.name}, {"id", id}, {"why", why.to_string()});
  const TcpOutgoing::Unfinished left = peer->outgoing.take_puts();
  for (const PutId put : left.puts) finish(put, unavailable(why.text()).with(peer->metadata.name));
  for (const PutId put : left.cancelled) finish(put, cancelled(kCancelledBySender));
  disconnect(peer);
}

// Returns: when it has to be looked at again.
Time TcpTransport::check_patience(Time now) {
  Time next = Time::max();
  // While nobody polls, no peer can give a sign of life.
  if (now - last_poll_ > options_.patience / 2) {
    for (auto& [id, peer] : peers_) peer.last_life = now;
  }
  for (auto& [id, peer] : peers_) {
    if (!peer.outgoing.has_puts()) continue;
    const Duration pause = options_.patience / kPingsPerPatience;
    const Time due = peer.last_life + options_.patience;
    if (now >= due) {
      fail(id, &peer, unavailable("no sign of life"));
      continue;
    }
    if (now >= std::max(peer.last_life, peer.last_ping) + pause) {
      peer.last_ping = now;
      peer.outgoing.ping();
      next = now;  // to send it
    }
    next = std::min({next, due, std::max(peer.last_life, peer.last_ping) + pause});
  }
  for (auto sender = senders_.begin(); sender != senders_.end();) {
    const auto at = sender++;
    if (at->second.incoming.is_greeted()) continue;
    const Time due = at->second.since + options_.patience;
    if (now >= due) {
      remove_sender(at->first);
    } else {
      next = std::min(next, due);
    }
  }
  return next;
}

void TcpTransport::on_peer_event(PeerId id, Peer* peer, uint32_t events) {
  Status status;
  if (peer->is_connecting && (events & (EPOLLOUT | EPOLLERR | EPOLLHUP)) != 0) {
    status = connect_result(peer->socket.get());
    peer->is_connecting = false;
  }
  if (status.is_ok() && (events & ~uint32_t{EPOLLOUT}) != 0) status = receive_replies(peer);
  if (status.is_ok() && !peer->is_connecting) status = send(id, peer).status();
  if (!status.is_ok()) fail(id, peer, status);
}

Status TcpTransport::receive_replies(Peer* peer) {
  std::array<char, 16384> bytes;
  const ssize_t count = ::recv(peer->socket.get(), bytes.data(), bytes.size(), 0);
  if (count < 0 && (errno == EAGAIN || errno == EINTR)) return {};
  if (count < 0) return unavailable(errno_text("receiving"));
  if (count == 0) return unavailable("the peer hung up");
  peer->last_life = Clock::steady().now();
  std::vector<PutId> acknowledged, landed;
  const Status status = peer->outgoing.received({bytes.data(), static_cast<size_t>(count)}, &acknowledged, &landed);
  for (const PutId put : acknowledged) finish(put, {});
  for (const PutId put : landed) finish(put, cancelled(kCancelledBySender));
  return status;
}

void TcpTransport::accept_all() {
  for (;;) {
    Fd socket(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!socket.is_open()) return;
    if (std::ranges::count_if(senders_, [](const auto& sender) { return !sender.second.incoming.is_greeted(); }) >=
        kMostUngreeted)
      continue;
    set_options(socket.get(), options_.patience);
    const uint64_t id = next_id_++;
    events_->add(socket.get(), id, EPOLLIN | EPOLLRDHUP);
    senders_.emplace(id, Sender{std::move(socket), TcpIncoming(hello_, pool(), &writer_), {}, Clock::steady().now()});
  }
}

void TcpTransport::on_sender_event(uint64_t id, Sender* sender) {
  Status status = receive(sender);
  if (status.is_ok()) status = send_replies(id, sender);
  if (status.is_ok()) return;
  if (status.code() == Code::kCorrupt)
    LOG(warn, "sender closed", {"backend", "tcp"}, {"id", id}, {"why", status.to_string()});
  remove_sender(id);
}

Status TcpTransport::receive(Sender* sender) {
  std::array<iovec, TcpIncoming::kMostParts> parts;
  for (uint64_t total = 0; total < kSliceBytes;) {
    msghdr message = {};
    message.msg_iov = parts.data();
    message.msg_iovlen = sender->incoming.next_parts(parts);
    const ssize_t count = ::recvmsg(sender->socket.get(), &message, 0);
    const int error = count < 0 ? errno : 0;
    const auto came = static_cast<size_t>(std::max<ssize_t>(count, 0));
    TRY_STATUS(sender->incoming.received(came, &progress_.notifications, &sender->replies));
    if (error == EINTR) continue;
    if (error == EAGAIN) return {};
    if (error != 0) return unavailable(fmt::format("receiving: {}", std::strerror(error)));
    if (count == 0) return unavailable("the sender hung up");
    total += static_cast<uint64_t>(count);
  }
  return {};
}

Status TcpTransport::send_replies(uint64_t id, Sender* sender) {
  if (sender->replies.empty()) return {};
  const ssize_t count = ::send(sender->socket.get(), sender->replies.data(), sender->replies.size(), MSG_NOSIGNAL);
  if (count < 0 && errno != EAGAIN && errno != EINTR) return unavailable(errno_text("sending"));
  if (count > 0) sender->replies.erase(0, static_cast<size_t>(count));
  if (sender->replies.size() > kMostUnsentReplies) return corrupt("a sender that reads no replies");
  events_->change(sender->socket.get(), id, EPOLLIN | EPOLLRDHUP | (sender->replies.empty() ? 0U : EPOLLOUT));
  return {};
}

void TcpTransport::remove_sender(uint64_t id) {
  const auto found = senders_.find(id);
  events_->remove(found->second.socket.get());
  senders_.erase(found);
}

}  // namespace

Result<std::unique_ptr<KvTransport>> make_tcp_transport(TransportOptions options) {
  if (options.pool.kind != MemoryKind::kHost) return unsupported("tcp needs a pool in host memory");
  TRY(auto events, EventPoll::open());
  auto address = SocketAddress::resolve(options.host);
  if (!address.is_ok()) return unavailable(address.status().text());
  TRY(Fd listener, listen_on(&*address));
  TcpMetadata own;
  own.host = address->host();
  own.port = address->port();
  own.secret = random_bytes(kSecretBytes);
  own.pool_bytes = options.pool.bytes;
  own.name = options.name;
  auto transport = std::make_unique<TcpTransport>(std::move(options), std::move(events), std::move(listener), own);
  TRY_STATUS(transport->open());
  return std::unique_ptr<KvTransport>(std::move(transport));
}

}  // namespace dynamo::transfer
