#include "apps/whereabouts_flags.h"

#include "base/log.h"

namespace dynamo::apps {

OptionSet options_of(WhereaboutsFlags* flags) {
  OptionSet options;
  options.add("--host", host(&flags->host),
              "Address to listen on for requests and hand-offs; by default loopback if discovery and events are there, "
              "else the announced one, or all if that is not this machine's");
  options.add("--announce-host", host(&flags->announce_host),
              "Address or name that others connect to; by default --host, or this machine's on the way to discovery");
  options.add("--system-port", number(&flags->system_port, -1, 65535),
              "Port for /live, /ready and /metrics; 0 any free one, -1 none");
  options.add("--system-host", host(&flags->system_host),
              "Address for them; by default where requests are listened for");
  return options;
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
