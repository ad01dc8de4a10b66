// Backend "tcp": ends of any two hosts. Connections are opened by the end that puts (transfer/tcp_peer.h), and taken here from the
// others; what lies on them is in transfer/tcp_frame.h. Data is sent from the pool and received into the pool, without a copy of ours
// between. A put is through when the receiver acknowledged it, which it does in its poll.
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
#include "transfer/end_metadata.h"
#include "transfer/event_poll.h"
#include "transfer/kv_transport.h"
#include "transfer/listener.h"
#include "transfer/tcp_incoming.h"
#include "transfer/tcp_peer.h"
#include "transfer/tcp_socket.h"
#include "transfer/write_permits.h"

namespace dynamo::transfer {
namespace {

constexpr uint64_t kListener = 1;                // token of the listening socket
constexpr uint64_t kSliceBytes = 4U << 20;       // of one connection in one poll
constexpr size_t kMostUnsentReplies = 1U << 20;  // bytes; a sender that reads none of them is closed

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
      : loop_{std::move(options), std::move(events), kListener + 1},
        listener_(std::move(listener), loop_.events.get(), kListener),
        hello_(hello_of(own.secret)),
        metadata_(own.to_bytes()) {}
  ~TcpTransport() override {
    if (writer_number_) loop_.options.permits->remove_writer(*writer_number_);
  }
  // Before anything else. Errors: kExhausted.
  Status open() {
    TRY_STATUS(listener_.open());
    if (loop_.options.permits == nullptr) return {};
    writer_number_ = loop_.options.permits->add_writer();
    if (!writer_number_) return exhausted("the pool's permits have no writer left");
    writer_ = loop_.options.permits->writer(*writer_number_);
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
  void wake() override { loop_.events->wake(); }

 private:
  std::span<std::byte> pool() const { return {loop_.options.pool.data, loop_.options.pool.bytes}; }
  Time check_patience(Time now);

  void accept_all();
  void make_room();
  void on_sender_event(uint64_t id, Sender* sender);
  Status receive(Sender* sender);
  Status send_replies(uint64_t id, Sender* sender);
  void remove_sender(uint64_t id);

  TcpLoop loop_;
  Listener listener_;
  const std::string hello_;  // that this end expects
  const std::string metadata_;
  std::optional<uint32_t> writer_number_;
  PermitWriter writer_;  // this end is who writes what it receives
  PutId next_put_ = 1;
  std::map<PeerId, TcpPeer> peers_;
  std::map<uint64_t, Sender> senders_;  // by the tokens of their connections
  Time last_poll_;                      // its end
};

Result<PeerId> TcpTransport::add_peer(std::string_view metadata) {
  TRY(TcpMetadata parsed, TcpMetadata::parse(metadata));
  if (metadata == metadata_) return unsupported("this metadata is our own; an end is no peer of itself");
  auto address = SocketAddress::of_number(parsed.host, parsed.port);
  if (!address.is_ok()) return corrupt(address.status().text());
  const PeerId id = loop_.next_id++;
  peers_.try_emplace(id, id, std::move(parsed), *address, &loop_);
  return id;
}

void TcpTransport::drop_peer(PeerId peer) {
  const auto found = peers_.find(peer);
  if (found == peers_.end()) return;
  found->second.drop();
  peers_.erase(found);
}

Result<PutId> TcpTransport::put(PeerId id, std::span<const Copy> copies, std::string notification, PermitId permit) {
  const auto found = peers_.find(id);
  if (found == peers_.end()) return not_found(fmt::format("no peer {}", id));
  TRY_STATUS(found->second.put(next_put_, copies, std::move(notification), permit));
  return next_put_++;
}

void TcpTransport::cancel(PutId put) {
  for (auto& [id, peer] : peers_)
    if (peer.cancel(put)) return;
}

// A round of sending, one wait, and what came.
Progress TcpTransport::poll(Time until) {
  bool is_busy = false;
  for (auto& [id, peer] : peers_)
    if (peer.has_puts()) is_busy |= peer.send();
  const Time now = Clock::steady().now();
  until = std::min(until, check_patience(now));
  if (is_busy || !loop_.progress.finished.empty()) until = now;
  for (const epoll_event& event : loop_.events->wait(until)) {
    const uint64_t token = event.data.u64;
    if (token == kListener) {
      accept_all();
    } else if (const auto peer = loop_.peer_of.find(token); peer != loop_.peer_of.end()) {
      peer->second->on_event(token, event.events);
    } else if (const auto sender = senders_.find(token); sender != senders_.end()) {
      on_sender_event(token, &sender->second);
    }
  }
  last_poll_ = Clock::steady().now();
  return std::exchange(loop_.progress, {});
}

// Returns: when it has to be called again.
Time TcpTransport::check_patience(Time now) {
  Time next = listener_.check(now);
  const bool has_slept = now - last_poll_ > loop_.options.patience / 2;
  for (auto& [id, peer] : peers_) {
    if (has_slept) peer.forgive(now);
    next = std::min(next, peer.check_patience(now));
  }
  for (auto sender = senders_.begin(); sender != senders_.end();) {
    const auto at = sender++;
    if (at->second.incoming.is_greeted()) continue;
    const Time due = at->second.since + loop_.options.patience;
    if (now >= due) {
      remove_sender(at->first);
    } else {
      next = std::min(next, due);
    }
  }
  return next;
}

void TcpTransport::accept_all() {
  for (;;) {
    const uint64_t id = loop_.next_id++;
    std::optional<Fd> socket = listener_.accept(id);
    if (!socket) return;
    make_room();
    set_options(socket->get(), loop_.options.patience);
    senders_.emplace(id, Sender{std::move(*socket), TcpIncoming(hello_, pool(), &writer_), {}, Clock::steady().now()});
  }
}

// For one more that has not said hello.
void TcpTransport::make_room() {
  const auto is_silent = [](const auto& sender) { return !sender.second.incoming.is_greeted(); };
  if (std::ranges::count_if(senders_, is_silent) < kMostUngreeted) return;
  const auto oldest = std::ranges::find_if(senders_, is_silent);
  const uint64_t id = oldest->first;
  on_sender_event(id, &oldest->second);  // its hello may be there already
  if (const auto left = senders_.find(id); left != senders_.end() && is_silent(*left)) remove_sender(id);
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
    TRY_STATUS(sender->incoming.received(came, &loop_.progress.notifications, &sender->replies));
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
  loop_.events->change(sender->socket.get(), id, EPOLLIN | EPOLLRDHUP | (sender->replies.empty() ? 0U : EPOLLOUT));
  return {};
}

void TcpTransport::remove_sender(uint64_t id) {
  const auto found = senders_.find(id);
  loop_.events->remove(found->second.socket.get());
  senders_.erase(found);
}

}  // namespace

Result<std::unique_ptr<KvTransport>> make_tcp_transport(TransportOptions options) {
  CHECK(options.tcp.least >= 1 && options.tcp.most >= options.tcp.least && options.tcp.part_bytes >= 1);
  if (options.pool.kind != MemoryKind::kHost) return unsupported("tcp needs a pool in host memory");
  TRY(auto events, EventPoll::open());
  auto address = SocketAddress::of_number(options.host, 0);
  if (!address.is_ok()) return unavailable(address.status().text());
  auto listens = SocketAddress::of_number(options.listen_host.empty() ? options.host : options.listen_host, 0);
  if (!listens.is_ok()) return unavailable(listens.status().text());
  TRY(Fd listener, listen_on(&*listens));
  TcpMetadata own;
  own.host = address->host();
  if (own.host.empty()) return unavailable("the system cannot say which address it listens on");
  own.port = listens->port();
  own.secret = random_bytes(kSecretBytes);
  own.pool_bytes = options.pool.bytes;
  own.name = options.name;
  auto transport = std::make_unique<TcpTransport>(std::move(options), std::move(events), std::move(listener), own);
  TRY_STATUS(transport->open());
  return std::unique_ptr<KvTransport>(std::move(transport));
}

}  // namespace dynamo::transfer
