#include "handoff/prefill_peers.h"

#include <map>

#include <fmt/format.h>

#include "rpc/channel.h"

namespace dynamo::handoff {
namespace {

constexpr Duration kUnusedLife = std::chrono::minutes(1);
constexpr Duration kConnectLimit = std::chrono::seconds(1);

class RemotePeers final : public PrefillPeers {
 public:
  RemotePeers(boost::asio::any_io_executor executor, rpc::Identity identity)
      : executor_(std::move(executor)), identity_(std::move(identity)) {}
  ~RemotePeers() override {
    for (const auto& [place, peer] : peers_) peer.channel->stop();
  }

  Task<Result<std::string>> ask(PrefillPlace place, std::string request, Time until, bool* was_sent) override {
    const std::shared_ptr<rpc::Channel> channel = channel_to(place);
    const Time connected_by = std::min(until, Clock::steady().now() + kConnectLimit);
    const Status connected = co_await channel->wait_connected(connected_by);
    if (!connected.is_ok())
      co_return unavailable(fmt::format("{} at {}: {}", place.name, place.address, connected.text()));
    CO_TRY(auto stream, channel->open(std::move(request)));
    *was_sent = true;
    // The worker ends a late prompt itself and says so; only when it is silent do we.
    const Time silent = until == Time::max() ? until : until + std::chrono::seconds(1);
    auto reply = co_await stream->next(silent);
    if (!reply.is_ok()) co_return reply.status();
    if (!reply->has_value()) co_return corrupt("an answer without a reply");
    co_return std::move(**reply);
  }

 private:
  struct Peer {
    std::shared_ptr<rpc::Channel> channel;
    Time used;
  };

  std::shared_ptr<rpc::Channel> channel_to(const PrefillPlace& place) {
    const Time now = Clock::steady().now();
    const auto key = std::pair(place.instance, place.address);
    std::erase_if(peers_, [&](const auto& one) {
      if (one.first == key || one.second.used + kUnusedLife > now) return false;
      one.second.channel->retire();
      return true;
    });
    Peer& peer = peers_[key];
    peer.used = now;
    if (!peer.channel) {
      rpc::ChannelOptions options;
      options.address = place.address;
      options.expected_instance = place.instance;
      options.identity = identity_;
      peer.channel = rpc::Channel::create(executor_, std::move(options));
      peer.channel->start();
    }
    return peer.channel;
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
