// dynamo hub: discovery and events for one machine, in memory.
#include <memory>

#include "apps/command.h"
#include "apps/listen_flags.h"
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
  auto listening = hub::HubServer::listen(options, &io);
  if (!listening.is_ok()) return with_flag(listening.status(), {"--host", "--port"});
  auto server = std::move(listening).value();
  LOG(info, "hub ready", {"address", host_port_text(options.host, server->port())});
  tell_ready(ready_fd, "hub", std::to_string(server->port()));
  signals.wait();
  signals.release();
  server->stop();
  LOG(info, "stopped");
  return {};
}

}  // namespace

Command hub_command() {
  struct Flags {
    hub::HubOptions hub;
    int ready_fd = kNobodyAsked;
  };
  auto flags = std::make_shared<Flags>();
  flags->hub.port = kHubPort;
  Command command{.name = "hub",
                  .meaning =
                      "Discovery and events for the processes of one machine; etcd and NATS take its place across "
                      "machines"};
  command.options.add("--host", host(&flags->hub.host), "Address to listen on").without_variable();
  command.options.add("--port", number<uint16_t>(&flags->hub.port), "Port to listen on; 0 takes any free one")
      .without_variable();
  add_ready_option(&flags->ready_fd, &command.options);
  command.run = [=] { return finish("hub", run_hub(flags->hub, flags->ready_fd)); };
  return command;
}

}  // namespace dynamo::apps
