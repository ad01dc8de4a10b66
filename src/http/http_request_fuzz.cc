// Any bytes on a connection: the parser that the server uses gives requests or a refusal, the same ones whatever the cuts, and
// never a request that a stricter reader would have framed otherwise; and any query's parameters are read or refused.
#include <algorithm>
#include <string>
#include <vector>

#include "base/check.h"
#include "http/query.h"
#include "http/request_parser.h"

namespace {

using dynamo::http::RequestParser;

std::vector<std::string> read_all(std::string_view bytes, size_t piece) {
  RequestParser parser({.header_bytes = 4096, .body_bytes = 4096});
  std::vector<std::string> seen;
  for (size_t at = 0; at < bytes.size(); at += piece) {
    parser.push(bytes.substr(at, piece));
    while (parser.state() == RequestParser::State::kComplete) {
      const dynamo::http::Request request = parser.take();
      const bool has_length = request.header("content-length").has_value();
      CHECK(!has_length || !request.header("transfer-encoding"));
      CHECK(request.body.size() <= 4096);
      const auto parameter = dynamo::http::query_parameter(request.query, request.query.substr(0, 1));
      CHECK(!parameter.is_ok() || parameter->value_or("").size() <= request.query.size());
      seen.push_back(request.method + ' ' + request.path + ' ' + request.body);
    }
    if (parser.state() == RequestParser::State::kFailed) {
      CHECK(parser.status() >= 400 && !parser.keeps_alive());
      seen.push_back("refused");
      break;
    }
  }
  return seen;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const auto whole = read_all(bytes, std::max<size_t>(size, 1));
  const auto cut = read_all(bytes, 1);
  // A refusal may come earlier when bytes trickle in; the requests before it are the same.
  for (size_t i = 0; i < std::min(whole.size(), cut.size()); ++i)
    CHECK(whole[i] == cut[i] || whole[i] == "refused" || cut[i] == "refused");
  return 0;
}
