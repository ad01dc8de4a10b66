#include "openai/error.h"

#include "base/check.h"
#include "json/writer.h"
#include "openai/service.h"
#include "text/utf8.h"

namespace dynamo::openai {
namespace {

struct Row {
  int status;
  const char* type;
  const char* error_code;  // null where a client learns nothing from it
};

constexpr const char* kInvalidRequest = "invalid_request_error";
constexpr const char* kServerError = "server_error";

Row row_of(Code code) {
  switch (code) {
    case Code::kInvalid:
      return {400, kInvalidRequest, nullptr};
    case Code::kUnsupported:
      return {400, kInvalidRequest, "unsupported_parameter"};
    case Code::kNotFound:
      return {404, kInvalidRequest, "not_found"};
    case Code::kCancelled:
      return {499, kInvalidRequest, "request_cancelled"};
    case Code::kExhausted:
      return {503, kServerError, "server_overloaded"};
    case Code::kUnavailable:
      return {503, kServerError, "service_unavailable"};
    case Code::kDeadline:
      return {504, kServerError, "request_timeout"};
    case Code::kCorrupt:
    case Code::kInternal:
      return {500, kServerError, "internal_error"};
    case Code::kOk:
      break;
  }
  CHECK(!"an error is no success");
}

// Errors that the HTTP server finds by itself, by status.
Row row_of_http(int status) {
  switch (status) {
    case 404:
      return {status, kInvalidRequest, "not_found"};
    case 405:
      return {status, kInvalidRequest, "method_not_allowed"};
    case 408:
      return {status, kInvalidRequest, "request_timeout"};
    case 413:
      return {status, kInvalidRequest, "request_too_large"};
    case 415:
      return {status, kInvalidRequest, "unsupported_content_encoding"};
    case 431:
      return {status, kInvalidRequest, "header_too_large"};
    default:
      return status < 500 ? Row{status, kInvalidRequest, nullptr} : Row{status, kServerError, "internal_error"};
  }
}

// A text that may hold bytes of a client, of a path for one, which nobody promised to be UTF-8.
void append_any_string(std::string* out, std::string_view text) {
  std::string whole;
  if (text::append_utf8(text, &whole) > 0) whole += text::kReplacement;
  json::append_string(out, whole);
}

std::string body_of(std::string_view message, const Row& row, std::string_view param, std::string_view error_code) {
  const auto string_or_null = [](std::string* out, std::string_view text) {
    if (text.empty()) {
      *out += "null";
    } else {
      append_any_string(out, text);
    }
  };
  std::string out = R"({"error":{"message":)";
  append_any_string(&out, message);
  out += R"(,"type":)";
  json::append_string(&out, row.type);
  out += R"(,"param":)";
  string_or_null(&out, param);
  out += R"(,"code":)";
  string_or_null(&out, !error_code.empty() ? error_code : std::string_view(row.error_code ? row.error_code : ""));
  out += "}}";
  return out;
}

}  // namespace

ApiError to_api_error(const Status& status) {
  ApiError error;
  error.code = status.code();
  error.message = status.text();
  return error;
}

int http_status(Code code) {
  return row_of(code).status;
}

std::string error_body(const ApiError& error) {
  return body_of(error.message, row_of(error.code), error.param, error.error_code);
}

http::Response to_response(const ApiError& error) {
  http::Response response;
  response.status = http_status(error.code);
  response.body = error_body(error);
  if (error.code == Code::kExhausted || error.code == Code::kUnavailable) {
    response.headers.emplace_back("retry-after", "1");
  }
  return response;
}

http::Response error_response(int status, const std::string& message) {
  http::Response response;
  response.status = status;
  response.body = body_of(message, row_of_http(status), "", "");
  return response;
}

}  // namespace dynamo::openai
