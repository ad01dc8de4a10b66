#include "apps/whereabouts_flags.h"

#include "apps/host_flags.h"
#include "base/log.h"

namespace dynamo::apps {

void declare_whereabouts_flags(CLI::App* command, WhereaboutsFlags* flags) {
  add_flag(command, "--host", flags->host,
           "Address to listen on for requests and hand-offs; by default loopback if discovery and events are there, "
           "else the announced one, or all if that is not this machine's")
      ->transform(host_value());
  add_flag(command, "--announce-host", flags->announce_host,
           "Address or name that others connect to; by default --host, or this machine's on the way to discovery")
      ->transform(host_value());
  add_flag(command, "--system-port", flags->system_port, "Port for /live, /ready and /metrics; 0 any free one, -1 none")
      ->check(CLI::Range(-1, 65535));
  add_flag(command, "--system-host", flags->system_host, "Address for them; by default where requests are listened for")
      ->transform(host_value());
}

Result<worker::Whereabouts> whereabouts_of(const WhereaboutsFlags& flags, const Planes& planes) {
  worker::WhereaboutsOptions options;
  options.host = flags.host;
  options.announce_host = flags.announce_host;
  options.planes = planes.servers;
  TRY(worker::Whereabouts whereabouts, worker::choose_whereabouts(options, worker::this_machine()));
  if (!whereabouts.warning.empty()) LOG(warn, whereabouts.warning);
  return whereabouts;
}

}  // namespace dynamo::apps
