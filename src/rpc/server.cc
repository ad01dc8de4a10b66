#include "rpc/server.h"

#include <atomic>
#include <unordered_map>

#include <fmt/format.h>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/ip/tcp.hpp>

#include "base/listener.h"
#include "base/log.h"
#include "rpc/flow.h"
#include "rpc/link.h"
#include "wire/status.h"

namespace dynamo::rpc {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;
using wire::FrameType;

// What all connections share.
struct Shared {
  ServerOptions options;
  Handler handler;
  std::atomic<bool> is_stopping{false};
  std::atomic<uint32_t> streams{0};
};

// One request being answered.
class Reply final : public ReplyStream {
 public:
  Reply(std::shared_ptr<Link> link, uint32_t id, const asio::any_io_executor& executor)
      : link_(std::move(link)), id_(id), credited_(executor) {}

  Task<Status> send(std::string piece) override {
    CHECK(!piece.empty() && piece.size() <= kLargestPiece && !has_ended_);
    if (is_abandoned_) co_return cancelled("the peer does not want it any more");
    while (link_->is_open() && credit_ < static_cast<int64_t>(piece.size())) co_await credited_.wait(Time::max());
    co_await link_->drain();
    if (!link_->is_open()) co_return unavailable("the peer is gone");
    credit_ -= static_cast<int64_t>(piece.size());
    link_->send(FrameType::kChunk, id_, piece);
    co_return Status();
  }
  void send_last(std::string piece) override {
    CHECK(!has_ended_);
    has_ended_ = true;
    if (!is_abandoned_) link_->send(FrameType::kEnd, id_, piece);
  }
  void finish(const Status& status) {
    if (has_ended_ || is_abandoned_) return;
    has_ended_ = true;
    if (status.is_ok()) {
      link_->send(FrameType::kEnd, id_, {});
    } else {
      link_->send(FrameType::kError, id_, wire::to_bytes(status));
    }
  }
  // Nothing is sent from now on. The handler may not know yet: what it waited for may have come at the same moment.
  void abandon() { is_abandoned_ = true; }
  void add_credit(uint32_t bytes) {
    credit_ += bytes;
    credited_.notify();
  }
  asio::cancellation_signal& signal() { return signal_; }

 private:
  std::shared_ptr<Link> link_;
  uint32_t id_;
  int64_t credit_ = kStreamWindow;
  bool has_ended_ = false;     // the handler has said its last
  bool is_abandoned_ = false;  // cancelled, or the peer is gone
  Notice credited_;
  asio::cancellation_signal signal_;
};

// One peer. On its socket's I/O thread.
class Connection final : public Listener::Connection, public std::enable_shared_from_this<Connection> {
 public:
  Connection(tcp::socket socket, std::shared_ptr<Shared> shared)
      : executor_(socket.get_executor()),
        link_(std::make_shared<Link>(std::move(socket))),
        shared_(std::move(shared)) {}

  Task<void> serve() override {
    const auto self = shared_from_this();
    asio::co_spawn(executor_, watch_silence(self), [self](const std::exception_ptr& failure) {
      if (failure) self->close(/*is_hard=*/true);
    });
    const auto on_frame = [self](const wire::Frame& frame) { return self->on_frame(frame); };
    const Status why = co_await self->link_->read(on_frame);
    if (why.code() != Code::kUnavailable) {
      LOG(warn, "a peer was cut off", {"peer", self->link_->peer()}, {"why", why.to_string()});
      self->link_->send(FrameType::kError, 0, wire::to_bytes(why));
      co_await self->link_->close_after_sending(std::chrono::seconds(1));
    }
    self->cancel_all();
    self->link_->close();
    while (!self->replies_.empty()) co_await self->all_ended_.wait(Time::max());
  }

  void close(bool is_hard) override {
    if (is_hard) cancel_all();
    if (is_hard || (replies_.empty() && link_->unsent() == 0)) link_->close();
  }

 private:
  static Task<void> watch_silence(std::shared_ptr<Connection> self) {
    asio::steady_timer timer(self->executor_);
    const Duration limit = self->shared_->options.silence_limit;
    while (self->link_->is_open()) {
      const Time due = Clock::steady().now() + limit / 4;
      timer.expires_at(due);
      error_code ignored;
      co_await timer.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
      const Time now = Clock::steady().now();
      const bool has_listened = now < due + limit / 4;  // and was not stopped itself
      if (has_listened && now - self->link_->last_received() >= limit) self->link_->close();
    }
  }

  Status on_frame(const wire::Frame& frame) {
    if (!is_known_) return on_hello(frame);
    if (frame.stream == 0) {
      if (frame.type == FrameType::kPing) link_->send(FrameType::kPong, 0, {});
      return {};
    }
    if (frame.type == FrameType::kRequest) return on_request(frame);
    const auto found = replies_.find(frame.stream);
    if (found == replies_.end()) return {};  // it ended while this was on its way
    if (frame.type == FrameType::kCancel) {
      cancel(found->second);
      return {};
    }
    const auto credit = read_credit(frame.payload);
    if (frame.type != FrameType::kCredit || !credit)
      return corrupt(fmt::format("a frame of type {} for a request", int(frame.type)));
    found->second->add_credit(*credit);
    return {};
  }

  Status on_hello(const wire::Frame& frame) {
    if (frame.type != FrameType::kHello) return corrupt("the peer did not say hello: it is no dynamo process");
    TRY_STATUS(check_hello(frame.payload, shared_->options.identity, 0));
    is_known_ = true;
    link_->send(FrameType::kHello, 0, hello_of(shared_->options.identity));
    return {};
  }

  Status on_request(const wire::Frame& frame) {
    if (replies_.contains(frame.stream)) return corrupt(fmt::format("stream {} is open already", frame.stream));
    if (shared_->is_stopping || replies_.size() >= shared_->options.max_streams) {
      const Status why =
          shared_->is_stopping
              ? unavailable("the worker is stopping")
              : exhausted(fmt::format("more than {} requests on one connection", shared_->options.max_streams));
      link_->send(FrameType::kError, frame.stream, wire::to_bytes(why));
      return {};
    }
    auto reply = std::make_shared<Reply>(link_, frame.stream, executor_);
    replies_.emplace(frame.stream, reply);
    ++shared_->streams;
    asio::co_spawn(executor_, answer(std::string(frame.payload), shared_, reply),
                   asio::bind_cancellation_slot(reply->signal().slot(), [self = shared_from_this(),
                                                                         id = frame.stream](const std::exception_ptr&) {
                     --self->shared_->streams;
                     self->replies_.erase(id);
                     if (self->replies_.empty()) self->all_ended_.notify();
                   }));
    return {};
  }

  static Task<void> answer(std::string request, std::shared_ptr<Shared> shared, std::shared_ptr<Reply> reply) {
    Status status;
    try {
      status = co_await shared->handler(std::move(request), reply.get());
    } catch (const boost::system::system_error& cancelled) {
      if (cancelled.code() == asio::error::operation_aborted) throw;  // cancelled: unwind
      status = internal(cancelled.what());
    } catch (const std::exception& thrown) {
      status = internal(thrown.what());
    }
    reply->finish(status);
  }

  void cancel(const std::shared_ptr<Reply>& reply) {
    const auto keep = reply;
    keep->abandon();
    keep->signal().emit(asio::cancellation_type::terminal);
  }
  void cancel_all() {
    const auto replies = replies_;
    for (const auto& [id, reply] : replies) cancel(reply);
  }

  asio::any_io_executor executor_;
  std::shared_ptr<Link> link_;
  std::shared_ptr<Shared> shared_;
  std::unordered_map<uint32_t, std::shared_ptr<Reply>> replies_;
  bool is_known_ = false;
  Notice all_ended_{executor_};
};

class ListeningServer final : public Server {
 public:
  ListeningServer(std::shared_ptr<Listener> listener, ServerOptions options) : listener_(std::move(listener)) {
    shared_->options = std::move(options);
  }

  void start(Handler handler) override {
    shared_->handler = std::move(handler);
    listener_->start(
        [shared = shared_](tcp::socket socket) { return std::make_shared<Connection>(std::move(socket), shared); });
  }
  uint16_t port() const override { return listener_->port(); }
  uint32_t connections() const override { return listener_->connections(); }
  uint32_t streams() const override { return shared_->streams; }
  void stop(Time until) override {
    shared_->is_stopping = true;
    listener_->stop(until);
  }

 private:
  const std::shared_ptr<Listener> listener_;
  const std::shared_ptr<Shared> shared_ = std::make_shared<Shared>();
};

}  // namespace

Result<std::unique_ptr<Server>> Server::listen(ServerOptions options, IoThreads* io) {
  TRY(auto listener, Listener::open({.name = "rpc", .host = options.host, .port = options.port}, io));
  return std::unique_ptr<Server>(std::make_unique<ListeningServer>(std::move(listener), std::move(options)));
}

}  // namespace dynamo::rpc
