// dynamo frontend: HTTP for clients, routing to the workers that are announced. Needs no model files.
#include <fmt/format.h>

#include <atomic>
#include <functional>

#include "apps/command.h"
#include "apps/frontend_flags.h"
#include "apps/listen_flags.h"
#include "apps/planes.h"
#include "apps/readiness.h"
#include "apps/stop_signals.h"
#include "base/host_port.h"
#include "base/instance_id.h"
#include "base/log.h"
#include "base/log_output.h"
#include "discovery/keys.h"
#include "frontend/frontend.h"
#include "frontend/routes.h"
#include "http/server.h"
#include "json/types.h"
#include "openai/service.h"
#include "worker/whereabouts.h"

namespace dynamo::apps {
namespace {

struct Flags {
  FrontendFlags frontend;
  PlaneFlags planes;
  int ready_fd = kNobodyAsked;
};

bool is_any(const std::string& host) {
  return host == "0.0.0.0" || host == "::";
}

std::string url_of(std::string host, uint16_t port) {
  if (const size_t zone = host.find('%'); zone != std::string::npos) host.insert(zone + 1, "25");  // RFC 6874
  return "http://" + host_port_text(host, port);
}

// Where others reach it, by the rule for workers; empty: they do not, or it is not known.
std::string announced_url(const std::string& host, uint16_t port, const Planes& planes) {
  worker::WhereaboutsOptions options;
  options.host = host;
  options.planes = planes.servers;
  const auto whereabouts = worker::choose_whereabouts(options, worker::this_machine());
  if (!whereabouts.is_ok() || !whereabouts->warning.empty()) return "";
  const bool is_ipv6 = whereabouts->announced_host.find(':') != std::string::npos;
  return host == "0.0.0.0" && is_ipv6 ? "" : url_of(whereabouts->announced_host, port);
}

// Its key, for as long as the lease.
std::unique_ptr<discovery::Lease> announce(const PlaneFlags& flags, const Planes& planes, std::string url) {
  auto lease = planes.registry->lease(std::chrono::seconds(10));
  lease->put(discovery::frontend_key(flags.name_space, random_instance()),
             discovery::to_json(discovery::FrontendInstance{std::move(url), flags.name_space, DYNAMO_VERSION}));
  return lease;
}

// Tells whoever asked for it when the frontend is ready. Returns: the signal that ends it.
int wait_for_end(const StopSignals& signals, int ready_fd, const std::string& url,
                 const std::function<bool()>& is_ready) {
  if (ready_fd == kNobodyAsked) return signals.wait();
  while (!is_ready())
    if (const int signal = signals.wait_for(std::chrono::milliseconds(20)); signal != 0) return signal;
  tell_ready(ready_fd, "frontend", url);
  return signals.wait();
}

Status run_frontend(Flags flags) {
  TRY_STATUS(check(flags.frontend));
  const StopSignals signals;  // before any thread starts
  std::optional<EndsWhileStarting> starting(&signals);
  TRY_STATUS(load_policy_library(&flags.frontend));
  Metrics metrics;
  IoThreads io(flags.frontend.http_threads);
  http::ServerOptions http = flags.frontend.http;
  http.error_body = openai::error_response;
  http.metrics = &metrics;
  auto listening = http::Server::listen(http, &io);  // first: a taken port is known before anything else is done
  if (!listening.is_ok()) return with_flag(listening.status(), {"--http-host", "--http-port"});
  auto server = std::move(listening).value();
  std::unique_ptr<frontend::Frontend> models;
  const auto give_up = [&](const Status& status) {
    if (models) models->stop();
    server->stop(Clock::steady().now());
    return status;
  };
  auto planes = open_planes(flags.planes);
  if (!planes.is_ok()) return give_up(planes.status());
  show_planes(*planes, &metrics);
  log::show_metrics(&metrics);
  frontend::FrontendOptions options;
  options.name_space = flags.planes.name_space;
  options.version = DYNAMO_VERSION;
  options.router = flags.frontend.router;
  options.syncs_replicas = flags.frontend.syncs_replicas;
  auto started = frontend::Frontend::start(options, planes->registry, planes->bus.get(), &io, &metrics,
                                           Clock::steady().now() + flags.planes.startup_timeout);
  if (!started.is_ok()) return give_up(started.status());
  models = std::move(started).value();
  std::atomic<bool> is_stopping = false;
  openai::ServiceState state;
  const auto is_ready = [&] { return !is_stopping && models->is_ready(); };
  state.is_ready = is_ready;
  state.health = [&] { return json::object{{"instances", models->instances()}}; };
  openai::Service service(flags.frontend.service, models.get(), std::move(state), &metrics);
  service.add_routes(server.get());
  frontend::add_routes(server.get(), models.get());
  server->start();
  const std::string url = url_of(is_any(http.host) ? "127.0.0.1" : http.host, server->port());
  const auto lease = announce(flags.planes, *planes, announced_url(http.host, server->port(), *planes));
  LOG(info, "serving", {"url", url}, {"router_mode", std::string(router::mode_name(flags.frontend.router))});

  starting.reset();
  const int signal = wait_for_end(signals, flags.ready_fd, url, is_ready);
  signals.release();
  is_stopping = true;
  LOG(info, "stopping: running requests may finish", {"signal", signal},
      {"within", fmt::format("{} s", flags.frontend.drain_timeout.count())});
  server->stop(Clock::steady().now() + flags.frontend.drain_timeout);
  models->stop();
  LOG(info, "stopped");
  return {};
}

}  // namespace

Command frontend_command() {
  auto flags = std::make_shared<Flags>();
  Command command{.name = "frontend", .meaning = "Answer OpenAI's HTTP API with the workers that are announced"};
  command.options.add(options_of(&flags->frontend));
  command.options.add(options_of(&flags->planes));
  add_ready_option(&flags->ready_fd, &command.options);
  command.run = [=] { return finish("frontend", run_frontend(*flags)); };
  return command;
}

}  // namespace dynamo::apps
