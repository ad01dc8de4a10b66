// Where a worker listens, and which address it tells others to connect to.
//
// It listens where those who are to reach it come from, and nowhere else: on loopback if discovery and events are on loopback, else on
// the address that it announces. docs/multinode.md has the rule as a table.  Threads: any; this_machine()'s functions ask a name server.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include <boost/asio/ip/address.hpp>

#include "base/host_port.h"
#include "base/status.h"

namespace dynamo::worker {

struct WhereaboutsOptions {
  std::string host;              // to listen on; empty: by the rule.  --host
  std::string announce_host;     // that others connect to; empty: by the rule.  --announce-host
  std::vector<HostPort> planes;  // where discovery and events are; at least one
};

struct Whereabouts {
  std::string listen_host;     // a number
  std::string announced_host;  // a number, or the name that a flag said
  std::string handoff_host;    // the number that other workers' sockets connect to
  std::string warning;         // what a person should know about them; empty: nothing
};

// What the rule has to know of the machine.
struct Machine {
  std::vector<boost::asio::ip::address> addresses;  // of its interfaces
  // The addresses of a name or number; none if there is no such name.
  std::function<std::vector<boost::asio::ip::address>(const std::string& host)> resolve;
  // The machine's own address on the way to another. Errors: kUnavailable.
  std::function<Result<boost::asio::ip::address>(const HostPort& there)> way_to;
};
Machine this_machine();

// Errors: kInvalid (a flag that cannot be meant: its name, value and remedy), those of way_to().
Result<Whereabouts> choose_whereabouts(const WhereaboutsOptions& options, const Machine& machine);

}  // namespace dynamo::worker
