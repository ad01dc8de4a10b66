#include "rpc/channel.h"

#include <deque>
#include <unordered_map>

#include <fmt/format.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/asio/ip/tcp.hpp>

#include "base/host_port.h"
#include "base/log.h"
#include "base/time_limit.h"
#include "rpc/flow.h"
#include "rpc/link.h"
#include "wire/status.h"

namespace dynamo::rpc {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;
using wire::FrameType;

class ConnectingChannel;

// What a stream is on the channel's side.
struct StreamState {
  explicit StreamState(const asio::any_io_executor& executor) : arrived(executor) {}
  std::deque<std::string> pieces;
  bool is_over = false;  // no more pieces come
  Status failure;
  uint32_t unacknowledged = 0;  // bytes taken that the peer has no credit for yet
  Notice arrived;
};

class ChannelStream final : public Stream {
 public:
  ChannelStream(std::shared_ptr<ConnectingChannel> channel, uint32_t id, std::shared_ptr<StreamState> state)
      : channel_(std::move(channel)), id_(id), state_(std::move(state)) {}
  ~ChannelStream() override;
  Task<Result<std::optional<std::string>>> next(Time until) override;
  std::optional<std::string> next_ready() override;

 private:
  std::string take();

  std::shared_ptr<ConnectingChannel> channel_;
  uint32_t id_;
  std::shared_ptr<StreamState> state_;
};

class ConnectingChannel final : public Channel {
 public:
  ConnectingChannel(const asio::any_io_executor& executor, ChannelOptions options)
      : options_(std::move(options)), executor_(executor), changed_(executor), pause_(executor) {}

  void start() override { asio::co_spawn(executor_, run(self()), asio::detached); }
  void stop() override {
    is_stopping_ = true;
    if (link_) link_->close();
    pause_.notify();
    fail_streams(unavailable("this process is stopping"));
  }
  void retire() override {
    is_retiring_ = true;
    stop_if_retired();
  }
  bool is_connected() const override { return is_connected_.load(); }
  Task<Status> wait_connected(Time until) override;
  Result<std::unique_ptr<Stream>> open(std::string request) override;

  void acknowledge(uint32_t stream, StreamState* state, size_t bytes);
  void drop(uint32_t stream);

 private:
  std::shared_ptr<ConnectingChannel> self() { return std::static_pointer_cast<ConnectingChannel>(shared_from_this()); }
  // Static, so that the coroutine itself keeps the channel alive.
  static Task<void> run(std::shared_ptr<ConnectingChannel> self);
  Task<Status> connect_and_serve();
  Task<Status> connect(tcp::socket* socket, Time until);
  Task<void> watch(std::shared_ptr<Link> link, Time hello_until);
  Status on_frame(const wire::Frame& frame);
  Status on_hello(const wire::Frame& frame);
  void fail_streams(const Status& why);
  void stop_if_retired() {
    if (is_retiring_ && !is_stopping_ && (streams_.empty() || !is_connected_)) stop();
  }
  void set_connected(bool is_connected, const Status& why);

  ChannelOptions options_;
  asio::any_io_executor executor_;
  std::shared_ptr<Link> link_;
  std::unordered_map<uint32_t, std::shared_ptr<StreamState>> streams_;
  uint32_t last_stream_ = 0;
  std::atomic<bool> is_connected_{false};
  bool is_retiring_ = false;
  bool is_stopping_ = false;
  Status last_failure_;
  Notice changed_;
  Notice pause_;
};

ChannelStream::~ChannelStream() {
  if (!state_->is_over) channel_->drop(id_);
}

std::string ChannelStream::take() {
  std::string piece = std::move(state_->pieces.front());
  state_->pieces.pop_front();
  channel_->acknowledge(id_, state_.get(), piece.size());
  return piece;
}

std::optional<std::string> ChannelStream::next_ready() {
  if (state_->pieces.empty()) return std::nullopt;
  return take();
}

Task<Result<std::optional<std::string>>> ChannelStream::next(Time until) {
  while (state_->pieces.empty()) {
    if (state_->is_over && !state_->failure.is_ok()) co_return state_->failure;
    if (state_->is_over) co_return std::optional<std::string>();
    if (Clock::steady().now() >= until) co_return deadline("the request's time ran out");
    co_await state_->arrived.wait(until);
  }
  co_return std::optional<std::string>(take());
}

void ConnectingChannel::acknowledge(uint32_t stream, StreamState* state, size_t bytes) {
  state->unacknowledged += static_cast<uint32_t>(bytes);
  if (state->is_over || state->unacknowledged < kLargestPiece || !is_connected_) return;
  link_->send(FrameType::kCredit, stream, credit_of(state->unacknowledged));
  state->unacknowledged = 0;
}

void ConnectingChannel::drop(uint32_t stream) {
  if (streams_.erase(stream) > 0 && is_connected_) link_->send(FrameType::kCancel, stream, {});
  stop_if_retired();
}

Result<std::unique_ptr<Stream>> ConnectingChannel::open(std::string request) {
  if (is_retiring_ || is_stopping_) return unavailable(options_.address + " is left already");
  if (!is_connected_) {
    const std::string why = last_failure_.is_ok() ? "not connected yet" : last_failure_.text();
    return unavailable(fmt::format("no connection to {}: {}", options_.address, why));
  }
  if (request.size() > wire::kMaxFramePayload)
    return invalid(
        fmt::format("a request of {} bytes; at most {} can be sent", request.size(), wire::kMaxFramePayload));
  do {
    ++last_stream_;
  } while (last_stream_ == 0 || streams_.contains(last_stream_));
  auto state = std::make_shared<StreamState>(executor_);
  streams_.emplace(last_stream_, state);
  link_->send(FrameType::kRequest, last_stream_, request);
  return std::unique_ptr<Stream>(std::make_unique<ChannelStream>(self(), last_stream_, std::move(state)));
}

Task<Status> ConnectingChannel::wait_connected(Time until) {
  const auto keep = self();
  while (!is_connected_) {
    if (is_stopping_) co_return unavailable("this process is stopping");
    if (Clock::steady().now() >= until) {
      if (!last_failure_.is_ok()) co_return last_failure_;
      co_return deadline(fmt::format("no connection to {} in time", options_.address));
    }
    co_await changed_.wait(until);
  }
  co_return Status();
}

Task<void> ConnectingChannel::run(std::shared_ptr<ConnectingChannel> self) {
  Duration pause = self->options_.first_pause;
  while (!self->is_stopping_) {
    const Time started = Clock::steady().now();
    Status why = co_await self->connect_and_serve();
    const bool has_lasted = Clock::steady().now() - started >= self->options_.longest_pause;
    if (self->is_connected_ && has_lasted) pause = self->options_.first_pause;
    self->set_connected(false, why);
    self->fail_streams(why);
    self->stop_if_retired();
    if (self->is_stopping_) break;
    co_await self->pause_.wait(Clock::steady().now() + pause);
    pause = std::min<Duration>(pause * 2, self->options_.longest_pause);
  }
}

Task<Status> ConnectingChannel::connect(tcp::socket* socket, Time until) {
  CO_TRY(const HostPort address, HostPort::parse(options_.address));
  tcp::resolver resolver(executor_);
  const TimeLimit limit(executor_, until, [&resolver, socket] {
    error_code ignored;
    resolver.cancel();
    socket->close(ignored);
  });
  error_code error;
  const auto found = co_await resolver.async_resolve(address.host, std::to_string(address.port),
                                                     asio::redirect_error(asio::use_awaitable, error));
  for (auto one = found.begin(); one != found.end() && !limit.has_passed(); ++one) {
    socket->close(error);
    co_await socket->async_connect(one->endpoint(), asio::redirect_error(asio::use_awaitable, error));
    if (!error) break;
  }
  if (limit.has_passed()) co_return deadline(fmt::format("{} did not answer in time", options_.address));
  if (error || !socket->is_open())
    co_return unavailable(fmt::format("cannot connect to {}: {}", options_.address, error.message()));
  co_return Status();
}

Task<Status> ConnectingChannel::connect_and_serve() {
  tcp::socket socket(executor_);
  const Time hello_until = Clock::steady().now() + options_.connect_timeout;
  Status status = co_await connect(&socket, hello_until);
  if (!status.is_ok() || is_stopping_) co_return status;
  auto link = std::make_shared<Link>(std::move(socket));
  link_ = link;
  link->send(FrameType::kHello, 0, hello_of(options_.identity));
  asio::co_spawn(executor_, watch(link, hello_until), [self = self(), link](const std::exception_ptr& failure) {
    if (failure) link->close();  // nobody would notice that it is dead
  });
  const auto on_frame = [this](const wire::Frame& frame) { return this->on_frame(frame); };
  status = co_await link->read(on_frame);
  const bool was_silent = Clock::steady().now() - link->last_received() >= options_.silence_limit;
  link->close();
  const bool is_late = !is_connected_ && status.code() == Code::kUnavailable && Clock::steady().now() >= hello_until;
  if (!is_connected_ && (was_silent || is_late))
    co_return deadline(fmt::format("{} takes connections and does not say hello", options_.address));
  if (was_silent) status = unavailable(fmt::format("{} says nothing", options_.address));
  co_return status;
}

// Pings while nothing comes, and while nothing else goes: the other end listens for signs of life too. Ends the link when even that
// brings nothing, or when hello is late.
Task<void> ConnectingChannel::watch(std::shared_ptr<Link> link, Time hello_until) {
  asio::steady_timer timer(executor_);
  while (link->is_open()) {
    const Time due = Clock::steady().now() + options_.ping_interval;
    timer.expires_at(due);
    error_code ignored;
    co_await timer.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
    if (!link->is_open()) break;
    const Time now = Clock::steady().now();
    const bool has_listened = now < due + options_.silence_limit / 2;  // and was not stopped itself
    const Duration silence = now - link->last_received();
    if ((silence >= options_.silence_limit && has_listened) || (!is_connected_ && now >= hello_until)) {
      link->close();
    } else if (std::max(silence, now - link->last_sent()) >= options_.ping_interval) {
      link->send(FrameType::kPing, 0, {});
    }
  }
}

Status ConnectingChannel::on_hello(const wire::Frame& frame) {
  if (frame.type == FrameType::kError) return wire::failure_from_bytes(frame.payload);
  if (frame.type != FrameType::kHello) return corrupt("the peer did not say hello: it is no dynamo process");
  TRY_STATUS(check_hello(frame.payload, options_.identity, options_.expected_instance));
  set_connected(true, Status());
  return {};
}

Status ConnectingChannel::on_frame(const wire::Frame& frame) {
  if (!is_connected_) return on_hello(frame).with(options_.address);
  if (frame.stream == 0) {
    if (frame.type == FrameType::kPing) link_->send(FrameType::kPong, 0, {});
    if (frame.type == FrameType::kError) return wire::failure_from_bytes(frame.payload).with(options_.address);
    return {};
  }
  const auto found = streams_.find(frame.stream);
  if (found == streams_.end()) return {};  // it was dropped here while this was on its way
  const std::shared_ptr<StreamState> state = found->second;
  switch (frame.type) {
    case FrameType::kChunk:
      state->pieces.emplace_back(frame.payload);
      break;
    case FrameType::kEnd:
      if (!frame.payload.empty()) state->pieces.emplace_back(frame.payload);
      state->is_over = true;
      break;
    case FrameType::kError:
      state->failure = wire::failure_from_bytes(frame.payload);
      state->is_over = true;
      break;
    default:
      return corrupt(fmt::format("{} sent a frame of type {} in an answer", options_.address, int(frame.type)));
  }
  state->arrived.notify();
  if (!state->is_over) return {};
  streams_.erase(found);
  stop_if_retired();
  return {};
}

void ConnectingChannel::fail_streams(const Status& why) {
  const auto streams = std::exchange(streams_, {});
  for (const auto& [id, state] : streams) {
    state->failure = Status(Code::kUnavailable, why.text());
    state->is_over = true;
    state->arrived.notify();
  }
}

void ConnectingChannel::set_connected(bool is_connected, const Status& why) {
  const bool is_news = is_connected != is_connected_ || (!why.is_ok() && last_failure_.text() != why.text());
  is_connected_ = is_connected;
  last_failure_ = why;
  changed_.notify();
  if (is_news && options_.on_change && !is_stopping_) options_.on_change(is_connected, why);
}

}  // namespace

std::shared_ptr<Channel> Channel::create(asio::any_io_executor executor, ChannelOptions options) {
  return std::make_shared<ConnectingChannel>(executor, std::move(options));
}

}  // namespace dynamo::rpc
