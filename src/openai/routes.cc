// Which path leads to which handler of the Service.
#include "openai/service.h"

namespace dynamo::openai {
namespace {

// A handler that computes its whole response at once.
http::Handler respond(std::function<http::Response(const http::Request&)> make) {
  return [make = std::move(make)](const http::Request* request, http::ResponseWriter* out) -> Task<void> {
    return [](http::Response response, http::ResponseWriter* to) -> Task<void> {
      static_cast<void>(co_await to->send(std::move(response)));  // a client that left has nobody to tell
    }(make(*request), out);
  };
}

}  // namespace

void Service::add_routes(http::Server* server) {
  const auto completions = [this](Endpoint endpoint) {
    return [this, endpoint](const http::Request* request, http::ResponseWriter* out) {
      return complete(endpoint, request, out);
    };
  };
  server->route("POST", "/v1/chat/completions", completions(Endpoint::kChat));
  server->route("POST", "/v1/completions", completions(Endpoint::kCompletions));
  server->route("GET", "/v1/models", respond([this](const http::Request&) { return list_models(); }));
  server->route("GET", "/v1/models/{id}",
                respond([this](const http::Request& request) { return show_model(request.path_parameter("id")); }));
  server->route("GET", "/health", respond([this](const http::Request&) { return show_health(); }));
  server->route("GET", "/live", respond([](const http::Request&) {
                  http::Response response;
                  response.body = R"({"status":"live"})";
                  return response;
                }));
  server->route("GET", "/ready", respond([this](const http::Request&) { return show_ready(); }));
  server->route("GET", "/metrics", respond([this](const http::Request&) { return show_metrics(); }));
}

}  // namespace dynamo::openai
