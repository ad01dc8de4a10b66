#include "frontend/routes.h"

#include <charconv>

#include <fmt/format.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/json/serialize.hpp>

#include "openai/service.h"

namespace dynamo::frontend {
namespace {

namespace asio = boost::asio;
namespace json = boost::json;

constexpr size_t kDefaultLast = 20;
constexpr size_t kMostLast = 1000;

// The value of a parameter of a query such as "last=5&request_id=x"; none if it is not there. Values here need no escapes.
std::optional<std::string> parameter(std::string_view query, std::string_view name) {
  while (!query.empty()) {
    const std::string_view one = query.substr(0, query.find('&'));
    query.remove_prefix(std::min(query.size(), one.size() + 1));
    if (one.size() > name.size() && one.starts_with(name) && one[name.size()] == '=')
      return std::string(one.substr(name.size() + 1));
  }
  return std::nullopt;
}

Task<std::string> explanation(const Frontend* frontend, size_t last, std::string request_id) {
  co_return json::serialize(json::object{{"decisions", frontend->explain(last, request_id)}});
}

// Megabytes of text at times: made on `pool`, while the I/O thread serves others.
Task<void> explain(const Frontend* frontend, asio::thread_pool* pool, const http::Request* request,
                   http::ResponseWriter* out) {
  size_t last = kDefaultLast;
  if (const auto given = parameter(request->query, "last")) {
    const auto [end, failure] = std::from_chars(given->data(), given->data() + given->size(), last);
    if (failure != std::errc() || end != given->data() + given->size() || last == 0 || last > kMostLast) {
      http::Response wrong = openai::error_response(
          400, fmt::format("'last' is '{}'; it must be a number in [1, {}]", given->substr(0, 64), kMostLast));
      static_cast<void>(co_await out->send(std::move(wrong)));
      co_return;
    }
  }
  http::Response response;
  std::string id = parameter(request->query, "request_id").value_or("");
  auto text = explanation(frontend, last, std::move(id));
  response.body = co_await asio::co_spawn(*pool, std::move(text), asio::use_awaitable);
  static_cast<void>(co_await out->send(std::move(response)));
}

Task<void> clear(Frontend* frontend, http::ResponseWriter* out) {
  http::Response response;
  json::array workers = co_await frontend->clear_blocks(Clock::steady().now() + std::chrono::seconds(5));
  response.body = json::serialize(json::object{{"workers", std::move(workers)}});
  static_cast<void>(co_await out->send(std::move(response)));
}

}  // namespace

void add_routes(http::Server* server, Frontend* frontend) {
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
