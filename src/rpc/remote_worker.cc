#include "rpc/remote_worker.h"

#include <fmt/format.h>

#include <boost/asio/execution/context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/query.hpp>
#include <boost/asio/this_coro.hpp>

#include "rpc/generate_messages.h"
#include "rpc/remote_generation.h"
#include "wire/messages.pb.h"

namespace dynamo::rpc {
namespace {

namespace asio = boost::asio;

constexpr size_t kMostBundleBytes = 1U << 30;
constexpr size_t kMostSnapshotBlocks = 1U << 28;

// Returns: false if those are too many.
bool append(const google::protobuf::RepeatedField<uint64_t>& blocks, std::vector<kv::BlockHash>* to) {
  for (const uint64_t bits : blocks) to->push_back({bits});
  return to->size() <= kMostSnapshotBlocks;
}

class ConnectedWorker final : public RemoteWorker {
 public:
  ConnectedWorker(ChannelOptions options, IoThreads* io) : io_(io) {
    for (size_t i = 0; i < io->size(); ++i) channels_.push_back(Channel::create(io->at(i).get_executor(), options));
  }

  void start() override {
    for (size_t i = 0; i < channels_.size(); ++i)
      asio::post(io_->at(i), [channel = channels_[i]] { channel->start(); });
  }
  void stop() override {
    for (size_t i = 0; i < channels_.size(); ++i) asio::post(io_->at(i), [channel = channels_[i]] { channel->stop(); });
  }
  void retire() override {
    for (size_t i = 0; i < channels_.size(); ++i)
      asio::post(io_->at(i), [channel = channels_[i]] { channel->retire(); });
  }
  bool is_connected() const override {
    return std::ranges::all_of(channels_, [](const auto& channel) { return channel->is_connected(); });
  }

  Task<Result<std::unique_ptr<Generation>>> generate(GenerateRequest request) override {
    Channel* channel = channel_of(co_await asio::this_coro::executor);
    wire::Request message;
    to_message(request, Clock::steady().now(), message.mutable_generate());
    CO_TRY(auto stream, channel->open(message.SerializeAsString()));
    // The worker ends a late request itself and says so; only when it is silent do we.
    const Time until = request.deadline == Time::max() ? Time::max() : request.deadline + std::chrono::seconds(1);
    co_return std::unique_ptr<Generation>(
        std::make_unique<RemoteGeneration>(std::move(stream), until, request.silence_limit));
  }

  Task<Result<std::string>> fetch_model(std::string digest, Time until) override {
    const auto keep = shared_from_this();
    wire::Request message;
    message.mutable_model()->set_digest(digest);
    auto stream = co_await open(std::move(message), until);
    if (!stream.is_ok()) co_return stream.status();
    std::string all;
    for (;;) {
      auto piece = co_await (*stream)->next(until);
      if (!piece.is_ok()) co_return piece.status();
      if (!piece->has_value()) co_return all;
      all += **piece;
      if (all.size() > kMostBundleBytes) co_return corrupt("a model's description of more than 1 GiB");
    }
  }

  Task<Result<BlockSnapshot>> fetch_blocks(Time until) override {
    const auto keep = shared_from_this();
    wire::Request message;
    message.mutable_blocks();
    auto stream = co_await open(std::move(message), until);
    if (!stream.is_ok()) co_return stream.status();
    BlockSnapshot snapshot;
    uint64_t sum = 0;
    for (bool is_first = true;; is_first = false) {
      auto piece = co_await (*stream)->next(until);
      if (!piece.is_ok()) co_return piece.status();
      if (!piece->has_value()) co_return corrupt("a snapshot that is cut short");
      wire::BlockSnapshot part;
      if (!part.ParseFromString(**piece)) co_return corrupt("a snapshot that cannot be read");
      if (!is_first && part.last_event() != snapshot.last_event)
        co_return corrupt("a snapshot whose parts are of different times");
      snapshot.last_event = part.last_event();
      for (const uint64_t block : part.blocks()) sum += block;
      bool fits = append(part.blocks(), &snapshot.held[kv::Tier::kDevice]);
      for (const wire::TierBlocks& lower : part.lower())
        if (lower.tier() > 0 && lower.tier() < kv::kTiers)
          fits = append(lower.blocks(), &snapshot.held.all[lower.tier()]) && fits;
      if (!fits) co_return corrupt("a snapshot of too many blocks");
      if (!part.is_last()) continue;
      if (sum != part.digest()) co_return corrupt("a snapshot whose sum is wrong");
      co_return snapshot;
    }
  }

  Task<Status> clear_blocks(Time until) override {
    const auto keep = shared_from_this();
    wire::Request message;
    message.mutable_clear();
    auto stream = co_await open(std::move(message), until);
    if (!stream.is_ok()) co_return stream.status();
    auto end = co_await (*stream)->next(until);
    co_return end.status();
  }

 private:
  Channel* channel_of(const asio::any_io_executor& executor) const {
    const asio::execution_context* context = &asio::query(executor, asio::execution::context);
    for (size_t i = 0; i < channels_.size(); ++i)
      if (context == &io_->at(i)) return channels_[i].get();
    CHECK(false);  // awaited on none of the threads that this worker was made for
    return nullptr;
  }

  Task<Result<std::unique_ptr<Stream>>> open(wire::Request message, Time until) {
    Channel* channel = channel_of(co_await asio::this_coro::executor);
    Status status = co_await channel->wait_connected(until);
    if (!status.is_ok()) co_return status;
    co_return channel->open(message.SerializeAsString());
  }

  IoThreads* io_;
  std::vector<std::shared_ptr<Channel>> channels_;
};

}  // namespace

std::shared_ptr<RemoteWorker> RemoteWorker::create(ChannelOptions options, IoThreads* io) {
  return std::make_shared<ConnectedWorker>(std::move(options), io);
}

}  // namespace dynamo::rpc
