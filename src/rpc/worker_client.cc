#include "rpc/worker_client.h"

#include <algorithm>

#include <boost/asio/dispatch.hpp>
#include <boost/asio/execution/context.hpp>
#include <boost/asio/query.hpp>
#include <boost/asio/this_coro.hpp>

#include "rpc/remote_generation.h"
#include "wire/request.h"

namespace dynamo::rpc {
namespace {

namespace asio = boost::asio;

constexpr size_t kMostBundleBytes = 1U << 30;
constexpr Duration kConnectLimit = std::chrono::seconds(1);  // for a prompt, which can be computed elsewhere

class ConnectedWorker final : public WorkerClient {
 public:
  ConnectedWorker(const ChannelOptions& options, const std::vector<asio::any_io_executor>& executors) {
    for (const auto& executor : executors) channels_.push_back({executor, Channel::create(executor, options)});
  }

  void start() override { at_each(&Channel::start); }
  void stop() override { at_each(&Channel::stop); }
  void retire() override { at_each(&Channel::retire); }
  bool is_connected() const override {
    return std::ranges::all_of(channels_, [](const auto& one) { return one.channel->is_connected(); });
  }

  Task<Result<std::unique_ptr<Generation>>> generate(GenerateRequest request) override {
    Channel* channel = channel_of(co_await asio::this_coro::executor);
    CO_TRY(auto stream, channel->open(wire::to_bytes(request, Clock::steady().now())));
    co_return std::unique_ptr<Generation>(
        std::make_unique<RemoteGeneration>(std::move(stream), patience_of(request.deadline), request.silence_limit));
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

  Task<Result<std::string>> set_role(wire::SetRole request, Time until) override {
    const auto keep = shared_from_this();
    std::string message = wire::to_bytes(request);
    auto stream = co_await open(std::move(message), until);
    if (!stream.is_ok()) co_return stream.status();
    auto reply = co_await reply_of(stream->get(), until);
    if (!reply.is_ok()) co_return reply.status();
    co_return wire::read_role_reply(*reply);
  }

  Task<Result<PrefillReport>> prefill(PrefillOrder order, Time until, Asked* asked) override {
    const auto keep = shared_from_this();
    *asked = Asked::kNotSent;
    const Time now = Clock::steady().now();
    std::string message = wire::to_bytes(order, now);
    auto stream = co_await open(std::move(message), std::min(until, now + kConnectLimit));
    if (!stream.is_ok()) co_return stream.status();
    *asked = Asked::kSent;
    auto reply = co_await reply_of(stream->get(), patience_of(until));
    if (!reply.is_ok()) co_return reply.status();
    Result<PrefillReport> report;
    CO_TRY_STATUS(wire::read_prefill_reply(*reply, &report));
    *asked = Asked::kAnswered;
    co_return report;
  }

 private:
  struct Place {
    asio::any_io_executor executor;
    std::shared_ptr<Channel> channel;
  };

  // At once where it is called on the channel's executor.
  void at_each(void (Channel::*what)()) const {
    for (const Place& one : channels_)
      asio::dispatch(one.executor, [channel = one.channel, what] { (channel.get()->*what)(); });
  }

  Channel* channel_of(const asio::any_io_executor& executor) const {
    const auto context_of = [](const asio::any_io_executor& any) {
      return &asio::query(any, asio::execution::context);
    };
    const auto found =
        std::ranges::find(channels_, context_of(executor), [&](const Place& one) { return context_of(one.executor); });
    CHECK(found != channels_.end());  // or it is awaited on none of the executors that it was made for
    return found->channel.get();
  }

  Task<Result<std::unique_ptr<Stream>>> open(std::string message, Time until) {
    Channel* channel = channel_of(co_await asio::this_coro::executor);
    Status status = co_await channel->wait_connected(until);
    if (!status.is_ok()) co_return status;
    co_return channel->open(std::move(message));
  }

  static Task<Result<std::string>> reply_of(Stream* stream, Time until) {
    auto reply = co_await stream->next(until);
    if (!reply.is_ok()) co_return reply.status();
    if (!reply->has_value()) co_return corrupt("an answer without a reply");
    co_return std::move(**reply);
  }

  // The worker ends a late request itself and says so; only when it is silent do we.
  static Time patience_of(Time until) { return until == Time::max() ? until : until + std::chrono::seconds(1); }

  std::vector<Place> channels_;
};

}  // namespace

std::shared_ptr<WorkerClient> WorkerClient::create(ChannelOptions options,
                                                   std::vector<asio::any_io_executor> executors) {
  return std::make_shared<ConnectedWorker>(options, executors);
}

}  // namespace dynamo::rpc
