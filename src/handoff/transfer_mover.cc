#include "handoff/transfer_mover.h"

#include <atomic>
#include <map>
#include <thread>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <variant>

#include <fmt/format.h>

#include "base/log.h"
#include "base/mutex.h"
#include "transfer/host.h"
#include "transfer/write_permits.h"

namespace dynamo::handoff {
namespace {

using transfer::KvTransport;
using transfer::PoolCard;

// Another worker's pool, and the backends between it and ours, fastest first. What changes is guarded by the mover's mutex.
struct Peer {
  explicit Peer(PoolCard of) : card(std::move(of)) {}
  const PoolCard card;
  std::vector<std::string> backends;
  size_t in_use = 0;
  // While a slower one than the first is in use:
  Duration pause{};
  Time try_faster_at{};
  bool is_trying = false;
};

// A peer's pool, by one backend.
struct PoolRoute final : Route {
  PoolRoute(std::shared_ptr<Peer> to, size_t by) : peer(std::move(to)), index(by) {}
  std::string_view backend() const override { return name(); }
  uint32_t blocks() const override { return static_cast<uint32_t>(peer->card.block_count); }
  const std::string& name() const { return peer->backends[index]; }
  const std::string& metadata() const { return peer->card.backends.at(name()); }
  const std::shared_ptr<Peer> peer;
  const size_t index;
};

struct PutOrder {
  uint64_t number = 0;
  std::shared_ptr<const PoolRoute> route;
  transfer::PermitId permit = transfer::kNoPermit;
  std::vector<transfer::Copy> copies;
  std::string notice;
  BlockMover::Done done;
};
struct CancelOrder {
  uint64_t number = 0;
};
using Order = std::variant<PutOrder, CancelOrder>;

// One backend and its thread.
class Carrier {
 public:
  Carrier(std::unique_ptr<KvTransport> transport, std::function<void(std::string)> on_notice)
      : transport_(std::move(transport)), on_notice_(std::move(on_notice)), thread_([this] { run(); }) {}
  ~Carrier() {
    must_end_ = true;
    transport_->wake();
    thread_.join();
  }

  std::string_view backend() const { return transport_->backend(); }
  const std::string& metadata() const { return transport_->metadata(); }
  void give(Order order) {
    {
      MutexLock lock(mutex_);
      orders_.push_back(std::move(order));
    }
    transport_->wake();
  }

 private:
  static constexpr size_t kMostPeers = 256;

  struct Running {
    uint64_t number = 0;
    std::string peer;  // its metadata
    uint64_t bytes = 0;
    BlockMover::Done done;
  };

  void run() {
    while (!must_end_) {
      std::vector<Order> orders;
      {
        MutexLock lock(mutex_);
        orders.swap(orders_);
      }
      for (Order& order : orders) std::visit([this](auto& one) { carry_out(std::move(one)); }, order);
      handle(transport_->poll(Clock::steady().now() + std::chrono::seconds(1)));
    }
    for (auto& [put, one] : running_) one.done(cancelled("the worker stops"), 0);
    std::vector<Order> orders;
    {
      MutexLock lock(mutex_);
      orders.swap(orders_);
    }
    for (Order& order : orders)
      if (auto* put = std::get_if<PutOrder>(&order)) put->done(cancelled("the worker stops"), 0);
  }

  void carry_out(PutOrder order) {
    const std::string& metadata = order.route->metadata();
    auto put = start(metadata, order.copies, std::move(order.notice), order.permit);
    if (!put.is_ok()) return order.done(put.status(), 0);
    Running& one = running_[*put];
    one = {order.number, metadata, 0, std::move(order.done)};
    for (const transfer::Copy& copy : order.copies) one.bytes += copy.bytes;
    by_number_[order.number] = *put;
  }
  void carry_out(CancelOrder order) {
    if (const auto found = by_number_.find(order.number); found != by_number_.end()) transport_->cancel(found->second);
  }

  Result<transfer::PutId> start(const std::string& metadata, std::span<const transfer::Copy> copies, std::string notice,
                                transfer::PermitId permit) {
    auto peer = peers_.find(metadata);
    if (peer == peers_.end()) {
      if (peers_.size() >= kMostPeers) forget_idle();
      TRY(const transfer::PeerId id, transport_->add_peer(metadata));
      peer = peers_.emplace(metadata, id).first;
    }
    auto put = transport_->put(peer->second, copies, std::move(notice), permit);
    if (!put.is_ok() && put.status().code() == Code::kUnavailable) forget(metadata);
    return put;
  }

  // The next put begins anew: a peer that comes back is another one to the transport.
  void forget(const std::string& metadata) {
    const auto peer = peers_.find(metadata);
    if (peer == peers_.end()) return;
    transport_->drop_peer(peer->second);
    peers_.erase(peer);
  }

  // Peers that went away with no put in flight are found by nothing else.
  void forget_idle() {
    std::unordered_set<std::string_view> busy;
    for (const auto& [put, one] : running_) busy.insert(one.peer);
    std::erase_if(peers_, [&](const auto& peer) {
      const bool is_idle = !busy.contains(peer.first);
      if (is_idle) transport_->drop_peer(peer.second);
      return is_idle;
    });
  }

  void handle(transfer::Progress progress) {
    for (std::string& notice : progress.notifications) on_notice_(std::move(notice));
    for (const transfer::FinishedPut& finished : progress.finished) {
      auto node = running_.extract(finished.put);
      if (node.empty()) continue;
      const Running one = std::move(node.mapped());
      by_number_.erase(one.number);
      if (finished.status.code() == Code::kUnavailable) forget(one.peer);
      one.done(finished.status, finished.status.is_ok() ? one.bytes : 0);
    }
  }

  std::unique_ptr<KvTransport> transport_;
  const std::function<void(std::string)> on_notice_;
  Mutex mutex_;
  std::vector<Order> orders_ GUARDED_BY(mutex_);
  std::atomic<bool> must_end_{false};
  // The thread's.
  std::unordered_map<std::string, transfer::PeerId> peers_;  // by metadata
  std::unordered_map<transfer::PutId, Running> running_;
  std::unordered_map<uint64_t, transfer::PutId> by_number_;
  std::thread thread_;
};

Result<std::unique_ptr<KvTransport>> make_transport(std::string_view backend,
                                                    const transfer::TransportOptions& options) {
  if (backend == "shm") return transfer::make_shm_transport(options);
  if (backend == "tcp") return transfer::make_tcp_transport(options);
  return transfer::make_nixl_transport(options);
}

class TransferMover final : public BlockMover {
 public:
  TransferMover(MoverOptions options)
      : wanted_(std::move(options.backend)),
        pause_before_faster_(options.pause_before_faster),
        card_(std::move(options.card)) {
    card_.host = transfer::this_host();
  }

  Status open(const MoverOptions& options) {
    transfer::TransportOptions transport;
    transport.pool = options.pool;
    transport.name = options.name;
    transport.host = options.host;
    transport.listen_host = options.listen_host;
    transport.nixl = options.nixl;
    TRY(permits_, transfer::WritePermits::create());
    transport.permits = permits_.get();
    std::vector<std::string> backends{wanted_};
    if (wanted_ == "auto") {
      backends = {"tcp"};
      if (options.pool.fd >= 0) backends.emplace_back("shm");
    }
    const auto make = options.make_transport ? options.make_transport : make_transport;
    for (const std::string& backend : backends) {
      TRY(auto opened, make(backend, transport));
      offer(std::move(opened));
    }
    if (wanted_ == "auto" && options.has_rdma) {
      auto nixl = make("nixl", transport);
      if (nixl.is_ok()) {
        offer(std::move(*nixl));
      } else {
        say_no_nixl(nixl.status());
      }
    }
    card_bytes_ = card_.to_bytes();
    return {};
  }

  std::string backends() const override { return names_of(card_); }
  const std::string& card() const override { return card_bytes_; }

  Result<std::shared_ptr<const Route>> route(std::string_view bytes) override {
    MutexLock lock(mutex_);
    std::string key(bytes);
    auto known = peers_.find(key);
    if (known == peers_.end()) {
      TRY(auto peer, meet(bytes));
      if (peers_.size() >= kMostPeers) peers_.clear();
      known = peers_.emplace(std::move(key), std::move(peer)).first;
    }
    const std::shared_ptr<Peer>& peer = known->second;
    if (peer->in_use > 0 && !peer->is_trying && Clock::steady().now() >= peer->try_faster_at) try_faster(peer);
    return std::shared_ptr<const Route>(std::make_shared<PoolRoute>(peer, peer->in_use));
  }

  uint64_t put(std::shared_ptr<const Route> route, uint64_t room, std::vector<BlockPair> blocks, std::string notice,
               Done done) override {
    auto by = std::static_pointer_cast<const PoolRoute>(std::move(route));
    return give(by, room, blocks, std::move(notice),
                [this, by, done = std::move(done)](const Status& status, uint64_t bytes) {
                  judge(*by, status, bytes);
                  done(status, bytes);
                });
  }
  void cancel(uint64_t put) override {
    for (const auto& [name, carrier] : carriers_) carrier->give(CancelOrder{put});
  }

  uint64_t open_room() override { return permits_->open(); }
  void close_room(uint64_t room) override { permits_->close(room); }
  Writing writing(uint64_t room) const override {
    if (!knows_writers_) return Writing::kUnknown;
    return permits_->is_used(room) ? Writing::kGoesOn : Writing::kOver;
  }

  void on_notice(std::function<void(std::string)> handler) override {
    MutexLock lock(mutex_);
    handler_ = std::move(handler);
  }

 private:
  static constexpr size_t kMostPeers = 4096;
  static constexpr Duration kLongestPause = std::chrono::minutes(10);

  Result<std::shared_ptr<Peer>> meet(std::string_view bytes) const {
    TRY(PoolCard card, PoolCard::parse(bytes));
    auto peer = std::make_shared<Peer>(std::move(card));
    const Status compatible = transfer::check_compatible(card_, peer->card);
    if (!compatible.is_ok()) return unsupported(std::string(compatible.text()));
    for (const std::string_view name : transfer::backends_between(card_, peer->card, wanted_))
      peer->backends.emplace_back(name);
    if (peer->backends.empty())
      return unsupported(
          fmt::format("no transfer backend in common: {} here, {} there", names_of(card_), names_of(peer->card)));
    peer->pause = pause_before_faster_;
    LOG(info, "transfer backend chosen", {"backend", peer->backends.front()}, {"here", names_of(card_)},
        {"there", names_of(peer->card)}, {"block_bytes", card_.block_bytes});
    return peer;
  }

  uint64_t give(std::shared_ptr<const PoolRoute> route, uint64_t room, std::span<const BlockPair> blocks,
                std::string notice, Done done) {
    PutOrder order;
    order.permit = room;
    order.number = ++last_;
    std::vector<transfer::BlockPair> pairs;
    pairs.reserve(blocks.size());
    for (const BlockPair& block : blocks) pairs.push_back({block.from, block.to});
    order.copies = transfer::copies_of(card_, route->peer->card, pairs);
    order.notice = std::move(notice);
    order.done = std::move(done);
    order.route = std::move(route);
    const uint64_t number = order.number;
    carriers_.at(order.route->name())->give(std::move(order));
    return number;
  }

  // Takes the next backend for the peer if this one has failed it.
  void judge(const PoolRoute& route, const Status& status, uint64_t bytes) {
    MutexLock lock(mutex_);
    Peer& peer = *route.peer;
    if (status.is_ok()) {
      if (bytes > 0 && route.index == 0) peer.pause = pause_before_faster_;
      return;
    }
    const bool is_about_backend = status.code() != Code::kCancelled && status.code() != Code::kInvalid;
    if (!is_about_backend || route.index != peer.in_use || peer.in_use + 1 == peer.backends.size()) return;
    ++peer.in_use;
    wait_longer(&peer);
    LOG(warn, "a transfer backend failed; the next one is taken", {"failed", route.name()},
        {"taken", peer.backends[peer.in_use]}, {"why", status.to_string()});
  }

  void wait_longer(Peer* peer) REQUIRES(mutex_) {
    peer->try_faster_at = Clock::steady().now() + peer->pause;
    peer->pause = std::min(2 * peer->pause, kLongestPause);
  }

  void try_faster(const std::shared_ptr<Peer>& peer) REQUIRES(mutex_) {
    peer->is_trying = true;
    auto faster = std::make_shared<PoolRoute>(peer, peer->in_use - 1);
    give(faster, transfer::kNoPermit, {}, /*notice=*/{}, [this, faster](const Status& status, uint64_t) {
      MutexLock lock(mutex_);
      Peer& peer = *faster->peer;
      peer.is_trying = false;
      wait_longer(&peer);
      if (!status.is_ok() || peer.in_use != faster->index + 1) return;
      peer.in_use = faster->index;
      LOG(info, "a transfer backend is used again", {"backend", faster->name()});
    });
  }

  void offer(std::unique_ptr<KvTransport> transport) {
    const std::string backend(transport->backend());
    card_.backends[backend] = transport->metadata();
    knows_writers_ = knows_writers_ && transport->keeps_permits();
    carriers_[backend] =
        std::make_unique<Carrier>(std::move(transport), [this](std::string notice) { tell(std::move(notice)); });
  }
  // Once in a process, which may have many workers.
  static void say_no_nixl(const Status& why) {
    static std::atomic<bool> is_said{false};
    if (is_said.exchange(true)) return;
    const bool is_missing = why.code() == Code::kNotFound;
    LOG(info, "this machine has RDMA, but NIXL cannot be used: blocks travel to other hosts by tcp",
        {"remedy", is_missing ? "pip install --no-deps nixl-cu13, or --nixl-lib" : "docs/transfer.md, nixl"},
        {"why", why.to_string()});
  }

  static std::string names_of(const PoolCard& card) {
    std::string names;
    for (const auto& [name, metadata] : card.backends) names += (names.empty() ? "" : ",") + name;
    return names;
  }
  void tell(std::string notice) {
    std::function<void(std::string)> handler;
    {
      MutexLock lock(mutex_);
      handler = handler_;
    }
    if (handler) handler(std::move(notice));
  }

  const std::string wanted_;
  const Duration pause_before_faster_;
  PoolCard card_;  // fixed once open() has returned
  std::string card_bytes_;
  Mutex mutex_;
  std::function<void(std::string)> handler_ GUARDED_BY(mutex_);
  std::unordered_map<std::string, std::shared_ptr<Peer>> peers_ GUARDED_BY(mutex_);  // by card
  std::atomic<uint64_t> last_{0};
  std::unique_ptr<transfer::WritePermits> permits_;
  bool knows_writers_ = true;                                 // fixed once open() has returned
  std::map<std::string, std::unique_ptr<Carrier>> carriers_;  // by backend; their threads end first
};

}  // namespace

Result<std::unique_ptr<BlockMover>> make_transfer_mover(MoverOptions options) {
  if (options.backend != "auto" && options.backend != "shm" && options.backend != "tcp" && options.backend != "nixl")
    return invalid(
        fmt::format("--disaggregation-transfer-backend {}: auto, shm, tcp and nixl are there", options.backend));
  auto mover = std::make_unique<TransferMover>(options);
  TRY_STATUS(mover->open(options));
  return std::unique_ptr<BlockMover>(std::move(mover));
}

}  // namespace dynamo::handoff
