#include "frontend/routes.h"

#include <charconv>

#include <fmt/format.h>

#include <boost/asio/thread_pool.hpp>
#include <boost/json/serialize.hpp>

#include "base/on_pool.h"
#include "http/query.h"
#include "openai/service.h"

namespace dynamo::frontend {
namespace {

namespace asio = boost::asio;
namespace json = boost::json;

constexpr size_t kDefaultLast = 20;
constexpr size_t kMostLast = 1000;

Task<std::string> explanation(const Operations* frontend, size_t last, std::string request_id) {
  co_return json::serialize(json::object{{"decisions", frontend->explain(last, request_id)}});
}

struct Asked {
  size_t last = kDefaultLast;
  std::string request_id;  // empty: all
};

// Errors: kInvalid (names the parameter).
Result<Asked> read_query(std::string_view query) {
  Asked asked;
  TRY(const auto last, http::query_parameter(query, "last"));
  if (last) {
    const auto [end, failure] = std::from_chars(last->data(), last->data() + last->size(), asked.last);
    if (failure != std::errc() || end != last->data() + last->size() || asked.last == 0 || asked.last > kMostLast) {
      return invalid(fmt::format("'last' is '{}'; it must be a number in [1, {}]", last->substr(0, 64), kMostLast));
    }
  }
  TRY(auto request_id, http::query_parameter(query, "request_id"));
  asked.request_id = std::move(request_id).value_or("");
  return asked;
}

// Megabytes of text at times: made on `pool`, while the I/O thread serves others.
Task<void> explain(const Operations* frontend, asio::thread_pool* pool, const http::Request* request,
                   http::ResponseWriter* out) {
  http::Response response;
  if (auto asked = read_query(request->query); asked.is_ok()) {
    auto text = explanation(frontend, asked->last, std::move(asked->request_id));
    response.body = co_await on_pool(pool, std::move(text));
  } else {
    response = openai::error_response(400, asked.status().text());
  }
  static_cast<void>(co_await out->send(std::move(response)));
}

Task<void> clear(Operations* frontend, http::ResponseWriter* out) {
  http::Response response;
  json::array workers = co_await frontend->clear_blocks(Clock::steady().now() + std::chrono::seconds(5));
  response.body = json::serialize(json::object{{"workers", std::move(workers)}});
  static_cast<void>(co_await out->send(std::move(response)));
}

}  // namespace

void add_routes(http::Server* server, Operations* frontend) {
  // One thread: what is asked for at once is made one after the other.
  server->route("GET", "/router/explain",
                [frontend, pool = std::make_shared<asio::thread_pool>(1)](const http::Request* request,
                                                                          http::ResponseWriter* out) -> Task<void> {
                  return explain(frontend, pool.get(), request, out);
                });
  server->route("POST", "/clear_kv_blocks", [frontend](const http::Request*, http::ResponseWriter* out) -> Task<void> {
    return clear(frontend, out);
  });
}

}  // namespace dynamo::frontend
