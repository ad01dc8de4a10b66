#include "openai/error.h"

#include <boost/json.hpp>

#include "openai/service.h"

namespace dynamo::openai {
namespace {

const char* type_of(int status) {
  if (status >= 500) return "server_error";
  return status == 429 ? "rate_limit_error" : "invalid_request_error";
}

boost::json::value or_null(const std::string& text) {
  return text.empty() ? boost::json::value(nullptr) : boost::json::value(text);
}

std::string body_of(const ApiError& error) {
  return boost::json::serialize(boost::json::object{{"error",
                                                     {{"message", error.message},
                                                      {"type", type_of(error.status)},
                                                      {"param", or_null(error.param)},
                                                      {"code", or_null(error.code)}}}});
}

}  // namespace

http::Response response_of(const ApiError& error) {
  http::Response response{.status = error.status, .content_type = "application/json", .body = body_of(error)};
  if (error.status == 503) response.headers.emplace_back("retry-after", "1");
  return response;
}

std::string event_of(const ApiError& error) {
  return "data: " + body_of(error) + "\n\n";
}

ApiError api_error(const Status& status) {
  switch (status.code()) {
    case Code::kOk:
      break;
    case Code::kInvalid:
      return {400, status.text(), "", ""};
    case Code::kUnsupported:
      return {400, status.text(), "", "unsupported_parameter"};
    case Code::kNotFound:
      return {404, status.text(), "", "not_found"};
    case Code::kExhausted:
      return {503, status.text(), "", "overloaded"};
    case Code::kUnavailable:
      return {503, status.text(), "", "unavailable"};
    case Code::kDeadline:
      return {504, status.text(), "", "timeout"};
    case Code::kCancelled:
      return {499, status.text(), "", "cancelled"};
    case Code::kCorrupt:
    case Code::kInternal:
      return {500, status.text(), "", "internal_error"};
  }
  return {500, "no error", "", "internal_error"};
}

http::Response error_response(int status, const std::string& message) {
  return response_of({status, message, "", ""});
}

}  // namespace dynamo::openai
