// Backend "shm": ends of one host. A sender maps the receiver's pool and copies into it; notifications pass through a ring that the
// receiver makes for each sender (transfer/notice_ring.h). A unix socket between the two carries the memory's fds once, after that
// only "there is room in the ring" - and, by hanging up, that the other process is gone, however it went.
//
//   sender -> receiver  hello: version, secret
//   receiver -> sender  welcome: version, number among the permits' writers; fds of pool, ring, bell and, if there are any, permits
//
// A put is through when its notification is in the ring. A sender that writes holds up its permit (transfer/write_permits.h); when the
// socket hangs up its process is gone, or has unmapped the pool, and it writes no more.
#include <sched.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstring>
#include <deque>
#include <map>
#include <optional>
#include <utility>

#include <fmt/format.h>

#include "base/check.h"
#include "base/log.h"
#include "base/shared_memory.h"
#include "transfer/byte_record.h"
#include "transfer/copy_cursor.h"
#include "transfer/end_metadata.h"
#include "transfer/event_poll.h"
#include "transfer/host.h"
#include "transfer/kv_transport.h"
#include "transfer/listener.h"
#include "transfer/notice_ring.h"
#include "transfer/shm_socket.h"
#include "transfer/write_permits.h"

namespace dynamo::transfer {
namespace {

constexpr uint64_t kListener = 1;                   // token of the listening socket; peers and senders follow
constexpr uint64_t kSliceBytes = 1U << 20;          // of one peer in one poll
constexpr size_t kSlicePuts = 64;                   // the same
constexpr std::chrono::microseconds kSpin(30);      // before a poll sleeps: waking costs about as much
constexpr std::chrono::microseconds kQuietSpin(2);  // the first of it without leaving the core
constexpr std::chrono::milliseconds kConnectPause(1);

struct Put {
  PutId id = 0;
  PermitId permit = kNoPermit;
  CopyCursor copies;
  std::string notice;  // as it lies in the ring
  size_t noticed = 0;
};

// The receiver's memory, mapped here.
struct Reach {
  SharedMemory pool;
  NoticeRing ring;
  Fd bell;
  SharedMemory permits;
  PermitWriter writer;
};

struct Peer {
  ShmMetadata metadata;
  Fd socket;
  std::optional<Reach> reach;  // none until welcomed
  std::deque<Put> puts;
  Time last_life;
  uint64_t seen_taken = 0;
};

// Who writes here.
struct Sender {
  Fd socket;
  std::optional<NoticeRing> ring;  // none until its hello
  Time since;
  std::optional<uint32_t> writer;  // its number among the permits'
};

bool has_bytes(const Fd& fd, uint64_t bytes) {
  struct stat file = {};
  return ::fstat(fd.get(), &file) == 0 && static_cast<uint64_t>(file.st_size) >= bytes;
}

std::string hello_of(const ShmMetadata& metadata) {
  ByteWriter hello;
  hello.number(ShmMetadata::kVersion);
  hello.text(metadata.secret);
  return hello.take();
}

class ShmTransport final : public KvTransport {
 public:
  ShmTransport(TransportOptions options, std::unique_ptr<EventPoll> events, Fd listener, const ShmMetadata& own)
      : options_(std::move(options)),
        events_(std::move(events)),
        listener_(std::move(listener), events_.get(), kListener),
        hello_(hello_of(own)),
        metadata_(own.to_bytes()) {}
  // Before anything else. Errors: kExhausted.
  Status open() { return listener_.open(); }
  ~ShmTransport() override {
    for (const auto& [id, sender] : senders_)
      if (sender.writer) options_.permits->remove_writer(*sender.writer);
  }

  std::string_view backend() const override { return "shm"; }
  bool keeps_permits() const override { return true; }
  const std::string& metadata() const override { return metadata_; }
  Result<PeerId> add_peer(std::string_view metadata) override;
  void drop_peer(PeerId peer) override;
  Result<PutId> put(PeerId peer, std::span<const Copy> copies, std::string notification, PermitId permit) override;
  void cancel(PutId put) override;
  Progress poll(Time until) override;
  void wake() override { events_->wake(); }

 private:
  Status connect(PeerId id, Peer* peer);
  void disconnect(Peer* peer);
  void fail(PeerId id, Peer* peer, const Status& why);
  void finish(PutId put, Status status) { progress_.finished.push_back({put, std::move(status)}); }

  bool advance(Peer* peer);
  Status copy(Reach* reach, Put* put, uint64_t* budget) const;
  std::optional<Status> advance_put(Peer* peer, Put* put, uint64_t* budget);
  bool advance_all();
  Time check_patience(Time now);
  void read_rings();
  bool sleep_on_rings();
  void spin(Time until);

  void accept_all();
  void make_room();
  void on_peer_event(PeerId id, Peer* peer);
  Status welcome(Peer* peer, SocketMessage message);
  void on_sender_event(uint64_t id);
  Status greet(Sender* sender, const SocketMessage& message);
  bool read_ring(uint64_t id, Sender* sender);
  void remove_sender(uint64_t id);

  const TransportOptions options_;
  const std::unique_ptr<EventPoll> events_;
  Listener listener_;
  const std::string hello_;  // that this end expects
  const std::string metadata_;
  uint64_t next_id_ = kListener + 1;  // of peers and senders: tokens
  PutId next_put_ = 1;
  std::map<PeerId, Peer> peers_;
  std::map<uint64_t, Sender> senders_;
  Progress progress_;  // since the last poll
  Time last_poll_;     // its end
};

Result<PeerId> ShmTransport::add_peer(std::string_view metadata) {
  TRY(ShmMetadata parsed, ShmMetadata::parse(metadata));
  if (metadata == metadata_) return unsupported("this metadata is our own; an end is no peer of itself");
  if (parsed.host != this_host())
    return unsupported(
        fmt::format("{} is on host {}; shm reaches only this one, {}", parsed.name, parsed.host, this_host()));
  const PeerId id = next_id_++;
  peers_[id].metadata = std::move(parsed);
  return id;
}

void ShmTransport::drop_peer(PeerId peer) {
  const auto found = peers_.find(peer);
  if (found == peers_.end()) return;
  for (const Put& put : found->second.puts) finish(put.id, cancelled("the peer was dropped"));
  disconnect(&found->second);
  peers_.erase(found);
}

Result<PutId> ShmTransport::put(PeerId id, std::span<const Copy> copies, std::string notification, PermitId permit) {
  const auto found = peers_.find(id);
  if (found == peers_.end()) return not_found(fmt::format("no peer {}", id));
  Peer& peer = found->second;
  TRY_STATUS(check_put(copies, notification, options_.pool.bytes, peer.metadata.pool_bytes));
  if (!peer.socket.is_open()) {
    const Status connected = connect(id, &peer);
    if (!connected.is_ok() && connected.code() != Code::kExhausted)
      return connected.with("reaching " + peer.metadata.name);
  }
  if (peer.puts.empty()) peer.last_life = Clock::steady().now();
  const auto length = static_cast<uint32_t>(notification.size());
  notification.insert(0, reinterpret_cast<const char*>(&length), sizeof(length));
  peer.puts.push_back({next_put_, permit, CopyCursor(copies), std::move(notification)});
  return next_put_++;
}

void ShmTransport::cancel(PutId put) {
  for (auto& [id, peer] : peers_) {
    const auto found = std::ranges::find(peer.puts, put, &Put::id);
    if (found == peer.puts.end()) continue;
    if (found->noticed > 0) return;  // its notification is on its way
    finish(put, cancelled("cancelled by its sender"));
    peer.puts.erase(found);
    return;
  }
}

// A round of work, then at most one wait.
Progress ShmTransport::poll(Time until) {
  const bool is_busy = advance_all();
  read_rings();
  const Time now = Clock::steady().now();
  until = std::min(until, check_patience(now));
  if (is_busy || !progress_.finished.empty() || !progress_.notifications.empty()) until = now;
  if (until > now) spin(until);
  if (until > now && !sleep_on_rings()) until = now;
  for (const epoll_event& event : events_->wait(until)) {
    const uint64_t token = event.data.u64;
    if (token == kListener) {
      accept_all();
    } else if (const auto peer = peers_.find(token); peer != peers_.end()) {
      on_peer_event(token, &peer->second);
    } else if (senders_.contains(token)) {
      on_sender_event(token);
    }
  }
  for (auto& [id, sender] : senders_) {
    if (sender.ring) sender.ring->wake_up();
  }
  read_rings();
  last_poll_ = Clock::steady().now();
  return std::exchange(progress_, {});
}

// Returns: whether there is more to do at once.
bool ShmTransport::advance_all() {
  bool is_busy = false;
  for (auto& [id, peer] : peers_) {
    if (peer.puts.empty()) continue;
    if (!peer.socket.is_open()) {
      const Status connected = connect(id, &peer);
      if (!connected.is_ok() && connected.code() != Code::kExhausted) fail(id, &peer, connected);
    } else if (peer.reach) {
      is_busy |= advance(&peer);
    }
  }
  return is_busy;
}

bool ShmTransport::advance(Peer* peer) {
  if (const uint64_t taken = peer->reach->ring.taken(); taken != peer->seen_taken) {
    peer->seen_taken = taken;
    peer->last_life = Clock::steady().now();
  }
  uint64_t budget = kSliceBytes;
  bool is_written = false;
  bool is_waiting = false;
  for (size_t count = 0; count < kSlicePuts && budget > 0 && !is_waiting && !peer->puts.empty(); ++count) {
    Put& put = peer->puts.front();
    const size_t noticed = put.noticed;
    const std::optional<Status> end = advance_put(peer, &put, &budget);
    is_written |= put.noticed > noticed;
    is_waiting = !end && put.copies.is_done();
    if (end) {
      finish(put.id, *end);
      peer->puts.pop_front();
    }
  }
  if (budget < kSliceBytes) peer->last_life = Clock::steady().now();
  if (is_written && peer->reach->ring.wakes_reader()) {
    const uint64_t one = 1;
    [[maybe_unused]] const auto ignored = ::write(peer->reach->bell.get(), &one, sizeof(one));
  }
  return !peer->puts.empty() && !(is_waiting && peer->reach->ring.waits_for_room());
}

// Errors: kCancelled (its permit is closed).
Status ShmTransport::copy(Reach* reach, Put* put, uint64_t* budget) const {
  if (put->copies.is_done()) return {};
  if (!reach->writer.begin(put->permit)) return cancelled("the receiver takes no more of it");
  while (*budget > 0 && !put->copies.is_done()) {
    const Copy piece = put->copies.take(*budget);
    std::memcpy(reach->pool.data() + piece.to, options_.pool.data + piece.from, piece.bytes);
    *budget -= piece.bytes;
  }
  reach->writer.end();
  return {};
}

// Returns: how it finished, or nothing yet.
std::optional<Status> ShmTransport::advance_put(Peer* peer, Put* put, uint64_t* budget) {
  const Status copied = copy(&*peer->reach, put, budget);
  if (!copied.is_ok()) return copied;
  if (!put->copies.is_done()) return std::nullopt;
  put->noticed += peer->reach->ring.write(std::string_view(put->notice).substr(put->noticed));
  return put->noticed == put->notice.size() ? std::optional(Status()) : std::nullopt;
}

Status ShmTransport::connect(PeerId id, Peer* peer) {
  TRY(Fd socket, connect_to(peer->metadata.address));
  TRY_STATUS(events_->add(socket.get(), id, EPOLLIN | EPOLLRDHUP));
  peer->socket = std::move(socket);
  const Status sent = send_message(peer->socket.get(), hello_of(peer->metadata));
  if (!sent.is_ok()) disconnect(peer);
  return sent;
}

void ShmTransport::disconnect(Peer* peer) {
  if (peer->socket.is_open()) events_->remove(peer->socket.get());
  peer->socket.reset();
  peer->reach.reset();
  peer->seen_taken = 0;
}

void ShmTransport::fail(PeerId id, Peer* peer, const Status& why) {
  LOG(info, "peer lost", {"backend", "shm"}, {"peer", peer->metadata.name}, {"id", id}, {"why", why.to_string()});
  for (const Put& put : peer->puts) finish(put.id, why.with(peer->metadata.name));
  peer->puts.clear();
  disconnect(peer);
}

// Returns: when it has to be looked at again.
Time ShmTransport::check_patience(Time now) {
  Time next = listener_.check(now);
  // While nobody polls, no peer can give a sign of life.
  if (now - last_poll_ > options_.patience / 2) {
    for (auto& [id, peer] : peers_) peer.last_life = now;
  }
  for (auto& [id, peer] : peers_) {
    if (peer.puts.empty()) continue;
    const Time due = peer.last_life + options_.patience;
    if (now >= due) {
      fail(id, &peer, unavailable("no sign of life"));
    } else {
      next = std::min(next, peer.socket.is_open() ? due : now + kConnectPause);
    }
  }
  for (auto sender = senders_.begin(); sender != senders_.end();) {
    const auto at = sender++;
    if (at->second.ring) continue;
    if (now >= at->second.since + options_.patience) {
      remove_sender(at->first);
    } else {
      next = std::min(next, at->second.since + options_.patience);
    }
  }
  return next;
}

void ShmTransport::spin(Time until) {
  const Time start = Clock::steady().now();
  const Time end = std::min(until, start + kSpin);
  for (Time now = start; now < end; now = Clock::steady().now()) {
    for (const auto& [id, sender] : senders_) {
      if (sender.ring && !sender.ring->is_empty()) return;
    }
    if (now > start + kQuietSpin) ::sched_yield();  // the sender may be waiting for this core
  }
}

// Returns: false if there is something to read.
bool ShmTransport::sleep_on_rings() {
  return std::ranges::all_of(senders_,
                             [](auto& sender) { return !sender.second.ring || sender.second.ring->try_sleep(); });
}

void ShmTransport::read_rings() {
  for (auto sender = senders_.begin(); sender != senders_.end();) {
    const auto at = sender++;
    if (at->second.ring && !read_ring(at->first, &at->second)) remove_sender(at->first);
  }
}

// Returns: whether the sender can stay.
bool ShmTransport::read_ring(uint64_t id, Sender* sender) {
  if (sender->ring->is_empty()) return true;
  if (const Status read = sender->ring->read(&progress_.notifications); !read.is_ok()) {
    LOG(warn, "sender closed", {"backend", "shm"}, {"id", id}, {"why", read.to_string()});
    return false;
  }
  if (sender->ring->wakes_writer()) (void)send_message(sender->socket.get(), "room").is_ok();  // it may be gone
  return true;
}

void ShmTransport::accept_all() {
  for (;;) {
    const uint64_t id = next_id_++;
    std::optional<Fd> socket = listener_.accept(id);
    if (!socket) return;
    make_room();
    senders_[id] = {std::move(*socket), std::nullopt, Clock::steady().now(), std::nullopt};
  }
}

// For one more that has not said hello.
void ShmTransport::make_room() {
  const auto is_silent = [](const auto& sender) { return !sender.second.ring; };
  if (std::ranges::count_if(senders_, is_silent) < kMostUngreeted) return;
  const uint64_t oldest = std::ranges::find_if(senders_, is_silent)->first;
  on_sender_event(oldest);  // its hello may be there already
  if (const auto left = senders_.find(oldest); left != senders_.end() && is_silent(*left)) remove_sender(oldest);
}

void ShmTransport::on_peer_event(PeerId id, Peer* peer) {
  auto message = receive_message(peer->socket.get());
  if (message.status().code() == Code::kExhausted) return;
  Status status = message.status();
  if (status.is_ok() && !peer->reach) status = welcome(peer, std::move(*message));
  peer->last_life = Clock::steady().now();
  if (!status.is_ok()) fail(id, peer, unavailable(status.text()));
}

Status ShmTransport::welcome(Peer* peer, SocketMessage message) {
  ByteReader reader(message.bytes);
  const auto version = reader.number<uint32_t>();
  const auto writer = reader.number<uint32_t>();
  const bool has_permits = message.fds.size() == 4;
  if (!reader.is_done() || version != ShmMetadata::kVersion || writer >= WritePermits::kMostWriters ||
      (message.fds.size() != 3 && !has_permits))
    return corrupt(fmt::format("a welcome of version {} with {} fds", version, message.fds.size()));
  if (!has_bytes(message.fds[0], peer->metadata.pool_bytes) || !has_bytes(message.fds[1], NoticeRing::kMappedBytes) ||
      (has_permits && !has_bytes(message.fds[3], WritePermits::kMappedBytes)))
    return corrupt("memory that is smaller than it was said to be");
  TRY(SharedMemory mapped_pool, SharedMemory::map(message.fds[0].release(), peer->metadata.pool_bytes));
  TRY(SharedMemory mapped_ring, SharedMemory::map(message.fds[1].release(), NoticeRing::kMappedBytes));
  SharedMemory permits;
  if (has_permits) {
    TRY(permits, SharedMemory::map(message.fds[3].release(), WritePermits::kMappedBytes));
  }
  PermitWriter permit_writer = has_permits ? PermitWriter(permits.data(), writer) : PermitWriter();
  peer->reach.emplace(Reach{std::move(mapped_pool), NoticeRing(std::move(mapped_ring)), std::move(message.fds[2]),
                            std::move(permits), permit_writer});
  return {};
}

void ShmTransport::on_sender_event(uint64_t id) {
  Sender& sender = senders_.at(id);
  auto message = receive_message(sender.socket.get());
  if (message.status().code() == Code::kExhausted) return;
  Status status = message.status();
  if (status.is_ok() && !sender.ring) {
    status = greet(&sender, *message);
    if (!status.is_ok()) LOG(warn, "sender refused", {"backend", "shm"}, {"why", status.to_string()});
  }
  if (status.is_ok()) return;
  if (sender.ring) read_ring(id, &sender);  // what it wrote before it went
  remove_sender(id);
}

Status ShmTransport::greet(Sender* sender, const SocketMessage& message) {
  if (message.bytes != hello_) return corrupt("a hello of another version, or without the secret");
  WritePermits* const permits = options_.permits;
  if (permits != nullptr) {
    sender->writer = permits->add_writer();
    if (!sender->writer) return exhausted(fmt::format("{} senders write here already", WritePermits::kMostWriters));
  }
  TRY(SharedMemory memory, SharedMemory::create(NoticeRing::kMappedBytes));
  sender->ring.emplace(std::move(memory));
  ByteWriter welcome;
  welcome.number(ShmMetadata::kVersion);
  welcome.number(sender->writer.value_or(0));
  const std::array<int, 4> fds = {options_.pool.fd, sender->ring->fd(), events_->bell(),
                                  permits != nullptr ? permits->fd() : -1};
  return send_message(sender->socket.get(), welcome.take(), std::span(fds).first(permits != nullptr ? 4 : 3));
}

void ShmTransport::remove_sender(uint64_t id) {
  const auto found = senders_.find(id);
  if (found->second.writer) options_.permits->remove_writer(*found->second.writer);
  events_->remove(found->second.socket.get());
  senders_.erase(found);
}

}  // namespace

Result<std::unique_ptr<KvTransport>> make_shm_transport(TransportOptions options) {
  if (options.pool.kind != MemoryKind::kHost || options.pool.fd < 0)
    return unsupported("shm needs a pool in host memory with a memfd");
  TRY(auto events, EventPoll::open());
  ShmMetadata own;
  own.host = this_host();
  for (const char byte : random_bytes(16)) own.address += fmt::format("{:02x}", static_cast<uint8_t>(byte));
  own.address.insert(0, "dynamo-kv-");
  own.secret = random_bytes(kSecretBytes);
  own.pool_bytes = options.pool.bytes;
  own.name = options.name;
  TRY(Fd listener, listen_at(own.address));
  auto transport = std::make_unique<ShmTransport>(std::move(options), std::move(events), std::move(listener), own);
  TRY_STATUS(transport->open());
  return std::unique_ptr<KvTransport>(std::move(transport));
}

}  // namespace dynamo::transfer
