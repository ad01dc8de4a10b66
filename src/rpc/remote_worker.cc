#include "rpc/remote_worker.h"

#include <fmt/format.h>

#include <boost/asio/execution/context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/query.hpp>
#include <boost/asio/this_coro.hpp>

#include "rpc/remote_generation.h"
#include "wire/request.h"

namespace dynamo::rpc {
namespace {

namespace asio = boost::asio;

constexpr size_t kMostBundleBytes = 1U << 30;

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
    CO_TRY(auto stream, channel->open(wire::to_bytes(request, Clock::steady().now())));
    // The worker ends a late request itself and says so; only when it is silent do we.
    const Time until = request.deadline == Time::max() ? Time::max() : request.deadline + std::chrono::seconds(1);
    co_return std::unique_ptr<Generation>(
        std::make_unique<RemoteGeneration>(std::move(stream), until, request.silence_limit));
  }

  Task<Result<std::string>> fetch_model(std::string digest, Time until) override {
    const auto keep = shared_from_this();
    std::string message = wire::to_bytes(wire::FetchModel{std::move(digest)});
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

  Task<Result<wire::BlockSnapshot>> fetch_blocks(Time until) override {
    const auto keep = shared_from_this();
    std::string message = wire::to_bytes(wire::FetchBlocks());
    auto stream = co_await open(std::move(message), until);
    if (!stream.is_ok()) co_return stream.status();
    for (wire::SnapshotReader parts;;) {
      auto piece = co_await (*stream)->next(until);
      if (!piece.is_ok()) co_return piece.status();
      if (!piece->has_value()) co_return corrupt("a snapshot that is cut short");
      CO_TRY(const bool is_last, parts.take(**piece));
      if (is_last) co_return std::move(parts).snapshot();
    }
  }

  Task<Status> clear_blocks(Time until) override {
    const auto keep = shared_from_this();
    std::string message = wire::to_bytes(wire::ClearBlocks());
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

  Task<Result<std::unique_ptr<Stream>>> open(std::string message, Time until) {
    Channel* channel = channel_of(co_await asio::this_coro::executor);
    Status status = co_await channel->wait_connected(until);
    if (!status.is_ok()) co_return status;
    co_return channel->open(std::move(message));
  }

  IoThreads* io_;
  std::vector<std::shared_ptr<Channel>> channels_;
};

}  // namespace

std::shared_ptr<RemoteWorker> RemoteWorker::create(ChannelOptions options, IoThreads* io) {
  return std::make_shared<ConnectedWorker>(std::move(options), io);
}

}  // namespace dynamo::rpc
