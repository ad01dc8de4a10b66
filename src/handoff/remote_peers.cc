#include "handoff/prefill_peers.h"

#include <map>

#include <fmt/format.h>

namespace dynamo::handoff {
namespace {

constexpr Duration kUnusedLife = std::chrono::minutes(1);

class RemotePeers final : public PrefillPeers {
 public:
  RemotePeers(boost::asio::any_io_executor executor, rpc::Identity identity)
      : executor_(std::move(executor)), identity_(std::move(identity)) {}
  ~RemotePeers() override {
    for (const auto& [place, peer] : peers_) peer.worker->stop();
  }

  Task<Result<PrefillReport>> ask(PrefillPlace place, PrefillOrder order, Time until, rpc::Asked* asked) override {
    auto report = co_await worker_at(place)->prefill(std::move(order), until, asked);
    if (!report.is_ok() && *asked == rpc::Asked::kNotSent)
      co_return unavailable(fmt::format("{} at {}: {}", place.name, place.address, report.status().text()));
    co_return report;
  }

 private:
  struct Peer {
    std::shared_ptr<rpc::WorkerClient> worker;
    Time used;
  };

  std::shared_ptr<rpc::WorkerClient> worker_at(const PrefillPlace& place) {
    const Time now = Clock::steady().now();
    const auto key = std::pair(place.instance, place.address);
    std::erase_if(peers_, [&](const auto& one) {
      if (one.first == key || one.second.used + kUnusedLife > now) return false;
      one.second.worker->retire();
      return true;
    });
    Peer& peer = peers_[key];
    peer.used = now;
    if (!peer.worker) {
      rpc::ChannelOptions options;
      options.address = place.address;
      options.expected_instance = place.instance;
      options.identity = identity_;
      peer.worker = rpc::WorkerClient::create(std::move(options), {executor_});
      peer.worker->start();
    }
    return peer.worker;
  }

  boost::asio::any_io_executor executor_;
  const rpc::Identity identity_;
  // By instance and address: whoever answers at one address is not who answers at another, though both may claim an instance.
  std::map<std::pair<uint64_t, std::string>, Peer> peers_;
};

}  // namespace

std::unique_ptr<PrefillPeers> make_remote_peers(boost::asio::any_io_executor executor, rpc::Identity identity) {
  return std::make_unique<RemotePeers>(std::move(executor), std::move(identity));
}

}  // namespace dynamo::handoff
