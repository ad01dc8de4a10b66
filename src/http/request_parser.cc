#include "http/request_parser.h"

#include <fmt/format.h>

#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>

#include <algorithm>
#include <optional>

#include "base/check.h"
#include "http/query.h"

namespace dynamo::http {
namespace {

namespace beast = boost::beast;
using Parser = beast::http::request_parser<beast::http::string_body>;

constexpr std::string_view kHeadEnd = "\r\n\r\n";

std::string_view view(beast::string_view text) {
  return {text.data(), text.size()};
}

// The first content coding of a body that is one, or nothing.
std::string find_coding(const beast::http::fields& fields) {
  const auto [begin, end] = fields.equal_range(beast::http::field::content_encoding);
  for (auto field = begin; field != end; ++field) {
    for (const auto& coding : beast::http::token_list(field->value())) {
      if (!beast::iequals(coding, "identity")) return std::string(view(coding));
    }
  }
  return "";
}

// What is wrong with the lines of a head, or nothing.
std::string_view find_dangerous(std::string_view head) {
  for (size_t i = 0; i < head.size(); ++i) {
    if (head[i] == '\0') return "a NUL byte in the head";
    if (head[i] == '\n' && (i == 0 || head[i - 1] != '\r')) return "a line that ends with a bare LF";
    if (head[i] == '\r' && (i + 1 >= head.size() || head[i + 1] != '\n')) return "a bare CR in the head";
    if (head[i] == '\n' && i + 1 < head.size() && (head[i + 1] == ' ' || head[i + 1] == '\t'))
      return "a folded header line";
  }
  return {};
}

}  // namespace

bool split_target(std::string_view target, std::string* path, std::string* query) {
  if (const size_t scheme = target.find("://"); scheme != std::string_view::npos && target.front() != '/') {
    const size_t slash = target.find('/', scheme + 3);
    target = slash == std::string_view::npos ? std::string_view("/") : target.substr(slash);
  }
  if (target.empty() || (target.front() != '/' && target != "*")) return false;
  const size_t mark = std::min(target.find('?'), target.size());
  *query = std::string(target.substr(std::min(mark + 1, target.size())));
  return percent_decode(target.substr(0, mark), path);
}

struct RequestParser::Impl {
  explicit Impl(RequestLimits limits) : limits(limits) {}

  RequestLimits limits;
  State state = State::kIdle;
  std::string buffer;  // bytes not yet parsed
  std::optional<Parser> parser;
  bool expects_continue = false;
  int version = 11;
  bool keeps_alive = true;
  int status = 400;
  std::string message;

  State fail(int code, std::string text) {
    status = code;
    message = std::move(text);
    keeps_alive = false;
    return state = State::kFailed;
  }

  State advance();
  State parse_head();
  State check_head();
  State parse_body();
};

RequestParser::State RequestParser::Impl::advance() {
  if (state == State::kIdle || state == State::kHead) {
    // Empty lines before a request are left over from older clients (RFC 9112, 2.2).
    size_t skipped = 0;
    while (buffer.compare(skipped, 2, "\r\n") == 0) skipped += 2;
    buffer.erase(0, skipped);
    if (buffer.empty()) return state = State::kIdle;
    parse_head();
  }
  if (state == State::kBody) parse_body();
  return state;
}

RequestParser::State RequestParser::Impl::parse_head() {
  const size_t end = buffer.find(kHeadEnd);
  const size_t head_bytes = end == std::string::npos ? buffer.size() : end + kHeadEnd.size();
  if (head_bytes > limits.header_bytes) {
    return fail(431, fmt::format("the request's head is larger than {} bytes", limits.header_bytes));
  }
  const std::string_view head = std::string_view(buffer).substr(0, head_bytes);
  if (end == std::string::npos) {
    // A bare LF or NUL can be refused before the end of the head is there, which with bare LFs would never come.
    const size_t lf = head.find('\n');
    if (head.find('\0') != std::string_view::npos ||
        (lf != std::string_view::npos && (lf == 0 || head[lf - 1] != '\r'))) {
      return fail(400, "the request's head is malformed");
    }
    return state = State::kHead;
  }
  if (const std::string_view danger = find_dangerous(head); !danger.empty())
    return fail(400, fmt::format("the request has {}", danger));
  parser.emplace();
  parser->header_limit(limits.header_bytes);
  parser->body_limit(limits.body_bytes);
  parser->eager(false);
  beast::error_code error;
  const size_t used = parser->put(boost::asio::buffer(head.data(), head.size()), error);
  if (error == beast::http::error::body_limit)
    return fail(413, fmt::format("the body is larger than {} bytes", limits.body_bytes));
  if (error == beast::http::error::bad_version) return fail(505, "only HTTP/1.0 and HTTP/1.1 are spoken here");
  if (error || !parser->is_header_done()) return fail(400, "the request's head is malformed: " + error.message());
  buffer.erase(0, used);
  return check_head();
}

RequestParser::State RequestParser::Impl::check_head() {
  using beast::http::field;
  const auto& message = parser->get();
  version = static_cast<int>(message.version());
  keeps_alive = message.keep_alive();
  if (version != 10 && version != 11) return fail(505, "only HTTP/1.0 and HTTP/1.1 are spoken here");
  if (message.count(field::host) > 1) return fail(400, "the request has more than one Host");
  if (version == 11 && message.count(field::host) == 0) return fail(400, "the request has no Host");
  if (message.count(field::content_length) > 1) return fail(400, "the request has more than one Content-Length");
  if (message.count(field::transfer_encoding) > 0) {
    if (message.count(field::content_length) > 0)
      return fail(400, "the request has both Content-Length and Transfer-Encoding");
    if (version == 10) return fail(400, "HTTP/1.0 has no Transfer-Encoding");
    if (message.count(field::transfer_encoding) > 1 || !beast::iequals(message[field::transfer_encoding], "chunked")) {
      return fail(501, "the only transfer coding accepted is chunked");
    }
  }
  const bool has_body = message.count(field::transfer_encoding) > 0 || parser->content_length().value_or(0) > 0;
  if (const std::string coding = has_body ? find_coding(message) : ""; !coding.empty()) {
    return fail(
        415,
        fmt::format("the body has the content-encoding '{}'; bodies are not decoded here, send it as it is", coding));
  }
  if (const auto expect = message.find(field::expect); expect != message.end()) {
    if (!beast::iequals(expect->value(), "100-continue")) return fail(417, "the only expectation met is 100-continue");
    expects_continue = version == 11;
  }
  parser->eager(true);
  return state = State::kBody;
}

RequestParser::State RequestParser::Impl::parse_body() {
  beast::error_code error;
  while (!parser->is_done() && !buffer.empty()) {
    const size_t used = parser->put(boost::asio::buffer(buffer.data(), buffer.size()), error);
    buffer.erase(0, used);
    if (error == beast::http::error::need_more) break;
    if (error == beast::http::error::body_limit)
      return fail(413, fmt::format("the body is larger than {} bytes", limits.body_bytes));
    if (error) return fail(400, "the request's body is malformed: " + error.message());
  }
  if (!parser->is_done()) {
    // What is left unparsed here is the beginning of a chunk's line or of a trailer: it has a limit too.
    if (buffer.size() > limits.header_bytes)
      return fail(431, fmt::format("a chunk header or trailer is larger than {} bytes", limits.header_bytes));
    return state;
  }
  return state = State::kComplete;
}

RequestParser::RequestParser(RequestLimits limits) : impl_(std::make_unique<Impl>(limits)) {}
RequestParser::~RequestParser() = default;
RequestParser::RequestParser(RequestParser&&) noexcept = default;

RequestParser::State RequestParser::push(std::string_view bytes) {
  impl_->buffer.append(bytes);
  return impl_->advance();
}

RequestParser::State RequestParser::state() const {
  return impl_->state;
}
bool RequestParser::take_expects_continue() {
  return std::exchange(impl_->expects_continue, false);
}
int RequestParser::version() const {
  return impl_->version;
}
bool RequestParser::keeps_alive() const {
  return impl_->keeps_alive;
}
int RequestParser::status() const {
  return impl_->status;
}
const std::string& RequestParser::message() const {
  return impl_->message;
}

Request RequestParser::take() {
  CHECK(impl_->state == State::kComplete);
  auto message = impl_->parser->release();
  impl_->parser.reset();
  impl_->expects_continue = false;
  Request request;
  request.method = std::string(view(message.method_string()));
  const bool is_target = split_target(view(message.target()), &request.path, &request.query);
  if (!is_target) request.path.clear();
  for (const auto& field : message) {
    std::string name(view(field.name_string()));
    std::ranges::transform(name, name.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    request.headers.emplace_back(std::move(name), std::string(view(field.value())));
  }
  request.body = std::move(message.body());
  impl_->state = State::kIdle;
  impl_->advance();
  return request;
}

}  // namespace dynamo::http
