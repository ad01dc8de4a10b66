#include "http/response_stream.h"

#include <fmt/format.h>

#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/http/status.hpp>

#include <algorithm>
#include <array>

#include "base/log.h"
#include "base/time_limit.h"
#include "http/metrics.h"

namespace dynamo::http {
namespace {

namespace asio = boost::asio;

// Nothing of a value becomes a header of its own, whoever it came from (RFC 9110, 5.5): one with control characters is left out.
void append_header(std::string_view name, std::string_view value, std::string* head) {
  const auto is_control = [](unsigned char c) { return (c < 0x20 && c != '\t') || c == 0x7f; };
  const auto is_no_token = [](unsigned char c) { return c <= 0x20 || c >= 0x7f || c == ':'; };
  if (name.empty() || std::ranges::any_of(name, is_no_token) || std::ranges::any_of(value, is_control)) {
    LOG(error, "a header that would break the response is left out", {"name", name}, {"value", value});
    return;
  }
  *head += fmt::format("{}: {}\r\n", name, value);
}

}  // namespace

std::string SocketResponse::head_of(const Response& response, bool is_stream) {
  const auto reason = boost::beast::http::obsolete_reason(static_cast<boost::beast::http::status>(response.status));
  std::string head = fmt::format("HTTP/1.{} {} {}\r\n", version_ - 10, response.status,
                                 std::string_view(reason.data(), reason.size()));
  if (!response.content_type.empty()) append_header("content-type", response.content_type, &head);
  for (const auto& [name, value] : response.headers) append_header(name, value, &head);
  if (!is_stream) {
    if (response.status >= 200 && response.status != 204)
      head += fmt::format("content-length: {}\r\n", response.body.size());
  } else if (version_ == 11) {
    head += "transfer-encoding: chunked\r\n";
  } else {
    keeps_alive_ = false;  // the end of the connection is the end of the stream
  }
  if (!keeps_alive_) {
    head += "connection: close\r\n";
  } else if (version_ == 10) {
    head += "connection: keep-alive\r\n";
  }
  head += "\r\n";
  if (options_->metrics) {
    options_->metrics->counter(kResponses, {{"status", fmt::format("{}xx", response.status / 100)}}).Increment();
  }
  return head;
}

Task<Status> SocketResponse::write_all(std::string first, std::string second) {
  const std::array<asio::const_buffer, 2> buffers = {asio::buffer(first), asio::buffer(second)};
  boost::system::error_code error;
  // Most writes fit the socket's buffer: try without waiting, then wait with a deadline for what is left.
  size_t written = socket_->write_some(buffers, error);
  if (error && error != asio::error::would_block && error != asio::error::try_again) {
    has_failed_ = true;
    co_return unavailable("the client is gone: " + error.message());
  }
  if (error) written = 0;
  const size_t total = first.size() + second.size();
  if (written < total) {
    const TimeLimit limit(socket_->get_executor(), Clock::steady().now() + options_->write_timeout, [socket = socket_] {
      boost::system::error_code ignored;
      socket->cancel(ignored);
    });
    while (written < total) {
      const std::string& current = written < first.size() ? first : second;
      const size_t offset = written < first.size() ? written : written - first.size();
      const asio::const_buffer rest = asio::buffer(current) + offset;
      written += co_await socket_->async_write_some(rest, asio::redirect_error(asio::use_awaitable, error));
      has_failed_ = limit.has_passed() || error;
      if (limit.has_passed()) co_return deadline("the client does not read");
      if (error) co_return unavailable("the client is gone: " + error.message());
    }
  }
  co_return Status();
}

Task<Status> SocketResponse::send(Response response) {
  CHECK(stage_ == Stage::kNothing);
  std::string head = head_of(response, /*is_stream=*/false);
  stage_ = Stage::kComplete;
  std::string body = is_head_ ? std::string() : std::move(response.body);
  Status status = co_await write_all(std::move(head), std::move(body));
  if (!status.is_ok()) keeps_alive_ = false;
  co_return status;
}

Task<Status> SocketResponse::begin(Response head) {
  CHECK(stage_ == Stage::kNothing);
  std::string text = head_of(head, /*is_stream=*/true);
  stage_ = Stage::kStreaming;
  std::string nothing;
  co_return co_await write_all(std::move(text), std::move(nothing));
}

Task<Status> SocketResponse::write(std::string piece) {
  CHECK(stage_ == Stage::kStreaming);
  if (piece.empty() || is_head_) co_return Status();
  std::string size;
  if (version_ == 11) {
    size = fmt::format("{:x}\r\n", piece.size());
    piece += "\r\n";
  }
  co_return co_await write_all(std::move(size), std::move(piece));
}

Task<Status> SocketResponse::end() {
  CHECK(stage_ == Stage::kStreaming);
  stage_ = Stage::kComplete;
  if (version_ != 11 || is_head_) co_return Status();
  std::string last = "0\r\n\r\n";
  std::string nothing;
  Status status = co_await write_all(std::move(last), std::move(nothing));
  if (!status.is_ok()) keeps_alive_ = false;
  co_return status;
}

}  // namespace dynamo::http
