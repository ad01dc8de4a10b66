#include "http/client.h"

#include <fmt/format.h>

#include <boost/asio/connect.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/http/buffer_body.hpp>
#include <boost/beast/http/parser.hpp>

#include <algorithm>
#include <array>
#include <optional>

#include "base/time_limit.h"

namespace dynamo::http {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
using asio::ip::tcp;
using boost::system::error_code;
using Parser = beast::http::response_parser<beast::http::buffer_body>;

std::string_view view(beast::string_view text) {
  return {text.data(), text.size()};
}

}  // namespace

Result<Url> parse_url(const std::string& text) {
  constexpr std::string_view kScheme = "http://";
  const std::string wrong = "'" + text + "' is no URL of the form http://host[:port][/path]";
  if (!text.starts_with(kScheme)) return invalid(wrong);
  std::string server = text.substr(kScheme.size());
  Url url;
  if (const size_t slash = server.find('/'); slash != std::string::npos) {
    url.path = server.substr(slash);
    server.resize(slash);
  }
  if (const size_t zone = server.find("%25"); zone != std::string::npos) server.erase(zone + 1, 2);
  auto parsed = HostPort::parse(server, 80);
  if (!parsed.is_ok()) return parsed.status().with(wrong);
  url.server = std::move(parsed).value();
  return url;
}

struct Client::State {
  State(asio::any_io_executor executor, Url to) : server(std::move(to.server)), socket(std::move(executor)) {}

  HostPort server;
  tcp::socket socket;
  std::optional<TimeLimit> limit;  // of the operation under way
  std::optional<Parser> parser;
  std::string buffer;  // received, not yet parsed
  bool keeps_alive = false;

  void set_limit(Time until);
  bool has_passed() const { return limit->has_passed(); }
  Status failure(const error_code& error, std::string_view doing) const;
  Task<Status> connect();
  Task<Status> exchange_head(const std::string* request, bool* is_stale);
  Task<Status> receive();
  std::string request_text(const std::string& method, const std::string& path, const Headers& headers,
                           const std::string& body) const;
};

// From now on the socket's operations end at `until`.
void Client::State::set_limit(Time until) {
  limit.emplace(socket.get_executor(), until, [this] {
    error_code ignored;
    socket.close(ignored);
  });
}

Status Client::State::failure(const error_code& error, std::string_view doing) const {
  const std::string text = fmt::format("{} {}", doing, server.to_string());
  if (has_passed()) return deadline(text + ": no answer in time");
  return unavailable(text + ": " + error.message());
}

Task<Status> Client::State::connect() {
  error_code error;
  tcp::resolver resolver(socket.get_executor());
  const auto found = co_await resolver.async_resolve(server.host, std::to_string(server.port),
                                                     asio::redirect_error(asio::use_awaitable, error));
  if (!error) co_await asio::async_connect(socket, found, asio::redirect_error(asio::use_awaitable, error));
  if (error) co_return failure(error, "connecting to");
  socket.set_option(tcp::no_delay(true), error);
  co_return Status();
}

std::string Client::State::request_text(const std::string& method, const std::string& path, const Headers& headers,
                                        const std::string& body) const {
  // A zone is of this machine alone and is not sent: RFC 6874, section 1.
  const std::string_view host = std::string_view(server.host).substr(0, server.host.find('%'));
  std::string text = fmt::format("{} {} HTTP/1.1\r\nhost: {}\r\n", method, path, host_port_text(host, server.port));
  for (const auto& [name, value] : headers) text += fmt::format("{}: {}\r\n", name, value);
  if (!body.empty() || method == "POST") text += fmt::format("content-length: {}\r\n", body.size());
  return text + "\r\n" + body;
}

// Reads more bytes into `buffer`. The end of the stream is an error.
Task<Status> Client::State::receive() {
  std::array<char, 16384> bytes;
  error_code error;
  const size_t count =
      co_await socket.async_read_some(asio::buffer(bytes), asio::redirect_error(asio::use_awaitable, error));
  if (error) co_return failure(error, "reading from");
  buffer.append(bytes.data(), count);
  co_return Status();
}

// Sends a request and parses the head of the response. `is_stale`: the connection was closed before a byte of it came.
Task<Status> Client::State::exchange_head(const std::string* request, bool* is_stale) {
  error_code error;
  co_await asio::async_write(socket, asio::buffer(*request), asio::redirect_error(asio::use_awaitable, error));
  *is_stale = static_cast<bool>(error);
  if (error) co_return failure(error, "writing to");
  buffer.clear();
  parser.emplace();
  parser->body_limit(boost::none);
  while (!parser->is_header_done()) {
    Status received = co_await receive();
    if (!received.is_ok()) {
      *is_stale = buffer.empty() && !has_passed();
      co_return received;
    }
    const size_t used = parser->put(asio::buffer(buffer.data(), buffer.size()), error);
    if (error && error != beast::http::error::need_more)
      co_return corrupt("the server does not speak HTTP: " + error.message());
    buffer.erase(0, used);
    if (buffer.size() > (64U << 10)) co_return corrupt("the response's head is too large");
  }
  co_return Status();
}

Client::Client(asio::any_io_executor executor, Url server)
    : state_(std::make_unique<State>(std::move(executor), std::move(server))) {}
Client::~Client() = default;

void Client::close() {
  error_code ignored;
  state_->socket.close(ignored);
}

Task<Result<Response>> Client::begin(std::string method, std::string path, Headers headers, std::string body,
                                     Time until) {
  State& s = *state_;
  const std::string request = s.request_text(method, path, headers, body);
  s.set_limit(until);
  Status status = unavailable("not connected");
  bool is_stale = true;
  const bool can_reuse = s.keeps_alive && s.socket.is_open();
  if (can_reuse) status = co_await s.exchange_head(&request, &is_stale);
  if (!status.is_ok() && is_stale && !s.has_passed()) {
    error_code ignored;
    s.socket.close(ignored);
    status = co_await s.connect();
    if (status.is_ok()) status = co_await s.exchange_head(&request, &is_stale);
  }
  s.limit.reset();
  s.keeps_alive = false;  // until the body has been read
  if (!status.is_ok()) {
    close();
    co_return status;
  }
  Response response;
  response.status = static_cast<int>(s.parser->get().result_int());
  response.content_type.clear();
  for (const auto& field : s.parser->get()) {
    std::string name(view(field.name_string()));
    std::ranges::transform(name, name.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    if (name == "content-type") response.content_type = std::string(view(field.value()));
    response.headers.emplace_back(std::move(name), std::string(view(field.value())));
  }
  co_return response;
}

Task<Result<std::string>> Client::read(Time until) {
  State& s = *state_;
  CHECK(s.parser.has_value());
  s.set_limit(until);
  std::string piece;
  Status failure;
  while (piece.empty() && !s.parser->is_done()) {
    std::array<char, 16384> body;
    error_code error;
    while (!s.buffer.empty() && !s.parser->is_done()) {
      s.parser->get().body().data = body.data();
      s.parser->get().body().size = body.size();
      s.parser->get().body().more = true;
      const size_t used = s.parser->put(asio::buffer(s.buffer.data(), s.buffer.size()), error);
      s.buffer.erase(0, used);
      piece.append(body.data(), body.size() - s.parser->get().body().size);
      if (error == beast::http::error::need_more) break;
      if (error && error != beast::http::error::need_buffer) {
        failure = corrupt("the response's body is malformed: " + error.message());
        break;
      }
    }
    if (!failure.is_ok() || !piece.empty() || s.parser->is_done()) break;
    failure = co_await s.receive();
    if (!failure.is_ok()) {
      // A body without a length ends with the connection.
      error_code end;
      if (s.parser->need_eof() && !s.has_passed()) s.parser->put_eof(end);
      if (s.parser->is_done()) failure = Status();
      break;
    }
  }
  s.limit.reset();
  if (!failure.is_ok()) {
    close();
    co_return failure;
  }
  if (s.parser->is_done()) s.keeps_alive = s.parser->keep_alive();
  co_return piece;
}

Task<Result<Response>> Client::fetch(std::string method, std::string path, Headers headers, std::string body,
                                     Time until) {
  CO_TRY(Response response,
         co_await begin(std::move(method), std::move(path), std::move(headers), std::move(body), until));
  for (;;) {
    CO_TRY(const std::string piece, co_await read(until));
    if (piece.empty()) break;
    response.body += piece;
  }
  co_return response;
}

std::vector<std::string> SseReader::push(std::string_view bytes) {
  std::vector<std::string> events;
  for (const char c : bytes) {
    const bool follows_cr = std::exchange(has_cr_, c == '\r');
    if (c == '\n' && follows_cr) continue;  // the second half of CRLF
    if (c != '\n' && c != '\r') {
      line_ += c;
      continue;
    }
    std::string line = std::exchange(line_, {});
    if (is_first_line_ && line.starts_with("\xEF\xBB\xBF")) line.erase(0, 3);
    is_first_line_ = false;
    if (line.empty()) {
      if (std::exchange(has_data_, false)) events.push_back(std::exchange(data_, {}));
    } else if (line.starts_with("data:") || line == "data") {
      std::string_view value = std::string_view(line).substr(std::min<size_t>(5, line.size()));
      if (value.starts_with(' ')) value.remove_prefix(1);
      if (has_data_) data_ += '\n';
      data_ += value;
      has_data_ = true;
    }
  }
  return events;
}

}  // namespace dynamo::http
