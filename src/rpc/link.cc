#include "rpc/link.h"

#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>

#include "base/host_port.h"

namespace dynamo::rpc {
namespace {

namespace asio = boost::asio;
using boost::system::error_code;

constexpr size_t kReadBytes = 64U << 10;
constexpr size_t kFewUnsentBytes = 1U << 20;

std::string name_of(const asio::ip::tcp::socket& socket) {
  error_code error;
  const auto endpoint = socket.remote_endpoint(error);
  return error ? "a peer that is gone" : host_port_text(endpoint.address().to_string(), endpoint.port());
}

}  // namespace

Link::Link(asio::ip::tcp::socket socket)
    : socket_(std::move(socket)),
      peer_(name_of(socket_)),
      drained_(socket_.get_executor()),
      last_received_(Clock::steady().now()),
      last_sent_(last_received_) {
  error_code ignored;
  socket_.set_option(asio::ip::tcp::no_delay(true), ignored);
}

void Link::send(wire::FrameType type, uint32_t stream, std::string_view payload) {
  if (is_closed_) return;
  last_sent_ = Clock::steady().now();
  wire::append_frame(type, stream, payload, &pending_);
  if (is_flush_posted_ || !writing_.empty()) return;
  is_flush_posted_ = true;
  asio::post(socket_.get_executor(), [self = shared_from_this()] {
    self->is_flush_posted_ = false;
    self->write_pending();
  });
}

void Link::write_pending() {
  if (is_closed_ || pending_.empty() || !writing_.empty()) return;
  std::swap(pending_, writing_);
  asio::async_write(socket_, asio::buffer(writing_), [self = shared_from_this()](error_code error, size_t) {
    self->writing_.clear();
    if (error) {
      self->close();
      return;
    }
    if (self->unsent() < kFewUnsentBytes) self->drained_.notify();
    self->write_pending();
  });
}

Task<void> Link::drain() {
  while (!is_closed_ && unsent() >= kFewUnsentBytes) co_await drained_.wait(Time::max());
}

Task<Status> Link::read(std::function<Status(const wire::Frame&)> on_frame) {
  const auto self = shared_from_this();
  std::string bytes(kReadBytes, '\0');
  wire::FrameReader frames;
  while (!is_closed_) {
    error_code error;
    const size_t count =
        co_await socket_.async_read_some(asio::buffer(bytes), asio::redirect_error(asio::use_awaitable, error));
    if (error) co_return unavailable(fmt::format("the connection to {} ended: {}", peer_, error.message()));
    last_received_ = Clock::steady().now();
    frames.push(std::as_bytes(std::span(bytes.data(), count)));
    for (;;) {
      auto frame = frames.next();
      if (!frame.is_ok()) co_return frame.status().with("from " + peer_);
      if (!frame->has_value()) break;
      Status status = on_frame(**frame);
      if (!status.is_ok()) co_return status;
    }
  }
  co_return unavailable(fmt::format("the connection to {} was closed", peer_));
}

void Link::close() {
  if (is_closed_) return;
  is_closed_ = true;
  error_code ignored;
  socket_.shutdown(asio::ip::tcp::socket::shutdown_both, ignored);
  socket_.close(ignored);
  pending_.clear();
  drained_.notify();
}

Task<void> Link::close_after_sending(Duration limit) {
  const auto self = shared_from_this();
  const Time until = Clock::steady().now() + limit;
  asio::steady_timer pause(socket_.get_executor());
  while (!is_closed_ && unsent() > 0 && Clock::steady().now() < until) {
    pause.expires_after(std::chrono::milliseconds(1));
    error_code ignored;
    co_await pause.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
  }
  close();
}

}  // namespace dynamo::rpc
