#include "hub/hub_link.h"

#include <boost/asio/buffer.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/connect.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>

#include <algorithm>

#include <fmt/format.h>

#include "base/log.h"
#include "events/event_bus.h"
#include "hub/hub_protocol.h"

namespace dynamo::hub {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using asio::experimental::awaitable_operators::operator||;
using boost::system::error_code;

constexpr size_t kReadBytes = 64U << 10;
constexpr std::chrono::milliseconds kFirstPause{50};
constexpr std::chrono::milliseconds kLongestPause{1000};
constexpr std::chrono::seconds kOpenLimit{2};
// While connected more may wait than while away: a burst is no outage.
constexpr size_t kMaxBurstBytes = events::kMaxUndeliveredBytes;

Task<void> pause_for(Duration time) {
  asio::steady_timer timer(co_await asio::this_coro::executor, time);
  error_code ignored;
  co_await timer.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
}

// The first reason is why a connection ended; the others follow from it.
void note_end(Status* why, const Status& reason) {
  if (why->is_ok()) *why = reason;
}

}  // namespace

HubLink::HubLink(HostPort address, Owner* owner) : address_(std::move(address)), owner_(owner) {}

void HubLink::start() {
  asio::co_spawn(threads_.at(0), run(), asio::detached);
}

HubLink::~HubLink() {
  threads_.stop();
}

Task<void> HubLink::run() {
  Duration pause = kFirstPause;
  for (;;) {
    tcp::socket socket(threads_.at(0));
    Status why = co_await open(&socket);
    if (why.is_ok()) {
      pause = kFirstPause;
      why = co_await serve(&socket);
      LOG(warn, "the hub is away", {"address", address_.to_string()}, {"why", why.to_string()});
    }
    note_trouble(why);
    error_code ignored;
    socket.close(ignored);
    co_await pause_for(pause);
    pause = std::min<Duration>(pause * 2, kLongestPause);
  }
}

Task<Status> HubLink::open(tcp::socket* socket) {
  reader_ = wire::FrameReader();
  incarnation_.reset();
  Status result = unavailable("no answer in time");
  co_await (shake_hands(socket, &result) || pause_for(kOpenLimit));
  co_return result;
}

Task<void> HubLink::shake_hands(tcp::socket* socket, Status* result) {
  error_code error;
  tcp::resolver resolver(threads_.at(0));
  const auto found = co_await resolver.async_resolve(address_.host, std::to_string(address_.port),
                                                     asio::redirect_error(asio::use_awaitable, error));
  if (!error) co_await asio::async_connect(*socket, found, asio::redirect_error(asio::use_awaitable, error));
  if (!error) {
    error_code ignored;
    socket->set_option(tcp::no_delay(true), ignored);
    const std::string hello = hello_frame(/*incarnation=*/0);
    co_await asio::async_write(*socket, asio::buffer(hello), asio::redirect_error(asio::use_awaitable, error));
  }
  std::string buffer(kReadBytes, '\0');
  while (!error) {
    const size_t count =
        co_await socket->async_read_some(asio::buffer(buffer), asio::redirect_error(asio::use_awaitable, error));
    if (error) break;
    reader_.push(std::as_bytes(std::span(buffer.data(), count)));
    auto frame = reader_.next();
    *result = frame.is_ok() && *frame ? take_hello(**frame) : frame.status();
    if (!result->is_ok() || incarnation_) co_return;
    *result = unavailable("no answer in time");
  }
  *result = unavailable(error.message());
}

Status HubLink::take_hello(const wire::Frame& frame) {
  if (frame.type == wire::FrameType::kError) return unavailable(fmt::format("the hub refused: {}", frame.payload));
  if (frame.type != wire::FrameType::kHello) return corrupt("what answers there is no hub");
  TRY(const uint64_t incarnation, read_hello(frame.payload, "hub"));
  if (incarnation == 0) return corrupt("what answers there is a client of a hub, not one");
  incarnation_ = incarnation;
  return {};
}

Task<Status> HubLink::serve(tcp::socket* socket) {
  last_heard_ = Clock::steady().now();
  owner_->on_connected(*incarnation_);
  LOG(info, "the hub is there", {"address", address_.to_string()});
  Status why;
  co_await (read_all(socket, &why) || write_all(socket, &why) || tick_all(&why));
  {
    MutexLock lock(mutex_);
    is_connected_ = false;
    outbox_.end(events::kMaxUnsentBytes);
  }
  owner_->on_lost(why);
  co_return why;
}

Task<void> HubLink::read_all(tcp::socket* socket, Status* why) {
  std::string buffer(kReadBytes, '\0');
  for (;;) {
    if (const Status status = take_frames(); !status.is_ok()) {
      note_end(why, status);
      co_return;
    }
    error_code error;
    const size_t count =
        co_await socket->async_read_some(asio::buffer(buffer), asio::redirect_error(asio::use_awaitable, error));
    if (error) {
      note_end(why, unavailable(error.message()));
      co_return;
    }
    last_heard_ = Clock::steady().now();
    reader_.push(std::as_bytes(std::span(buffer.data(), count)));
  }
}

Status HubLink::take_frames() {
  for (;;) {
    TRY(const auto frame, reader_.next());
    if (!frame) return {};
    if (frame->type == wire::FrameType::kError)
      return unavailable(fmt::format("the hub ended the connection: {}", frame->payload));
    if (frame->type == wire::FrameType::kPong) continue;
    message::FromHub message;
    if (frame->type != wire::FrameType::kChunk ||
        !message.ParseFromArray(frame->payload.data(), static_cast<int>(frame->payload.size())))
      return corrupt("the hub sent a frame that cannot be read");
    owner_->on_message(std::move(message));
  }
}

Task<void> HubLink::write_all(tcp::socket* socket, Status* why) {
  for (;;) {
    std::string frames;
    {
      MutexLock lock(mutex_);
      frames = outbox_.take(kWriteBytes);
      is_wake_posted_ = false;
    }
    error_code error;
    if (frames.empty()) {
      wake_.expires_at(Time::max());
      co_await wake_.async_wait(asio::redirect_error(asio::use_awaitable, error));
      // What is taken after the connection has ended would be lost.
      const auto ended = co_await asio::this_coro::cancellation_state;
      if (ended.cancelled() != asio::cancellation_type::none) co_return;
      continue;
    }
    co_await asio::async_write(*socket, asio::buffer(frames), asio::redirect_error(asio::use_awaitable, error));
    if (error) {
      note_end(why, unavailable(error.message()));
      co_return;
    }
  }
}

Task<void> HubLink::tick_all(Status* why) {
  Time last = Clock::steady().now();
  for (;;) {
    co_await pause_for(kPingInterval);
    const Time now = Clock::steady().now();
    // Time in which this process itself stood still is not the hub's silence.
    last_heard_ += std::max<Duration>(now - last - 2 * kPingInterval, Duration::zero());
    last = now;
    if (now - last_heard_ > kMaxSilence) {
      note_end(why, unavailable("the hub was silent for too long"));
      co_return;
    }
    send(ping_frame());
    owner_->on_tick(now);
  }
}

void HubLink::begin(std::vector<std::string> frames) {
  MutexLock lock(mutex_);
  outbox_.begin(std::move(frames));
  is_connected_ = true;
  was_connected_ = true;
  changed_.notify_all();
}

bool HubLink::send(std::string frame) {
  MutexLock lock(mutex_);
  if (!is_connected_) return false;
  outbox_.push(std::move(frame));
  wake_writer();
  return true;
}

void HubLink::send_event(std::string_view subject, std::string_view data) {
  MutexLock lock(mutex_);
  outbox_.push_event(subject, data, is_connected_ ? kMaxBurstBytes : events::kMaxUnsentBytes);
  if (is_connected_) wake_writer();
}

void HubLink::wake_writer() {
  if (std::exchange(is_wake_posted_, true)) return;
  asio::post(threads_.at(0), [this] { wake_.cancel(); });
}

uint64_t HubLink::dropped() const {
  MutexLock lock(mutex_);
  return outbox_.dropped();
}

void HubLink::note_trouble(const Status& why) {
  MutexLock lock(mutex_);
  if (trouble_.to_string() != why.to_string())
    LOG(info, "no hub yet", {"address", address_.to_string()}, {"why", why.to_string()});
  trouble_ = why;
  changed_.notify_all();
}

std::string HubLink::trouble() const {
  MutexLock lock(mutex_);
  const bool has_reason = !is_connected_ && !trouble_.is_ok();
  return fmt::format("{}: {}", address_.to_string(), has_reason ? trouble_.text() : "no answer in time");
}

Status HubLink::wait_for_first(Time until) {
  MutexLock lock(mutex_);
  changed_.wait_until(mutex_, until,
                      [this]() REQUIRES(mutex_) { return was_connected_ || trouble_.code() == Code::kUnsupported; });
  if (was_connected_) return {};
  if (trouble_.code() == Code::kUnsupported) return trouble_.with("connecting to the hub at " + address_.to_string());
  return unavailable(fmt::format("no hub answers at {} ({}); start one there, or name another with --hub",
                                 address_.to_string(), trouble_.is_ok() ? "no answer yet" : trouble_.text()));
}

}  // namespace dynamo::hub
