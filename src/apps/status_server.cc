#include "apps/status_server.h"

#include "apps/listen_flags.h"
#include "openai/service.h"

namespace dynamo::apps {

Status start_status_server(const WhereaboutsFlags& flags, const std::string& default_host, Metrics* metrics,
                           IoThreads* io, std::unique_ptr<http::Server>* out) {
  if (flags.system_port < 0) return {};
  http::ServerOptions options;
  options.host = flags.system_host.empty() ? default_host : flags.system_host;
  options.port = static_cast<uint16_t>(flags.system_port);
  options.error_body = openai::error_response;
  auto listening = http::Server::listen(std::move(options), io);
  if (!listening.is_ok()) return with_flag(listening.status(), {"--system-host", "--system-port"});
  auto server = std::move(listening).value();
  const auto answer = [](http::ResponseWriter* out, http::Response response) -> Task<void> {
    static_cast<void>(co_await out->send(std::move(response)));
  };
  for (const char* path : {"/live", "/ready"}) {
    server->route("GET", path, [answer](const http::Request*, http::ResponseWriter* out) -> Task<void> {
      http::Response response;
      response.body = R"({"status":"live"})";
      return answer(out, std::move(response));
    });
  }
  server->route("GET", "/metrics", [answer, metrics](const http::Request*, http::ResponseWriter* out) -> Task<void> {
    http::Response response;
    response.content_type = "text/plain; version=0.0.4; charset=utf-8";
    response.body = metrics->expose();
    return answer(out, std::move(response));
  });
  server->start();
  *out = std::move(server);
  return {};
}

}  // namespace dynamo::apps
