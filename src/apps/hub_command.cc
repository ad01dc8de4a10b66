// dynamo hub: discovery and events for one machine, in memory.
#include "apps/command.h"
#include "apps/host_flags.h"
#include "apps/planes.h"
#include "apps/readiness.h"
#include "apps/stop_signals.h"
#include "base/log.h"
#include "hub/hub_server.h"

namespace dynamo::apps {
namespace {

Status run_hub(hub::HubOptions options, int ready_fd) {
  const StopSignals signals;  // before any thread starts
  IoThreads io(1);
  TRY(auto server, hub::HubServer::listen(options, &io));
  LOG(info, "hub ready", {"address", host_port_text(options.host, server->port())});
  tell_ready(ready_fd, std::to_string(server->port()));
  signals.wait();
  signals.release();
  server->stop();
  LOG(info, "stopped");
  return {};
}

}  // namespace

void add_hub_command(CLI::App* app, Run* run) {
  CLI::App* command = app->add_subcommand(
      "hub", "Discovery and events for the processes of one machine; etcd and NATS take its place across machines");
  auto options = std::make_shared<hub::HubOptions>();
  options->port = kHubPort;
  command->add_option("--host", options->host, "Address to listen on")->transform(host_value())->capture_default_str();
  command->add_option("--port", options->port, "Port to listen on; 0 takes any free one")
      ->check(CLI::Range(0, 65535))
      ->capture_default_str();
  auto ready_fd = std::make_shared<int>(kNobodyAsked);
  declare_ready_flag(command, ready_fd.get());
  command->callback([=] { *run = [=] { return finish("hub", run_hub(*options, *ready_fd)); }; });
}

}  // namespace dynamo::apps
