#include "worker/whereabouts.h"

#include <ifaddrs.h>
#include <netinet/in.h>

#include <algorithm>
#include <cstring>

#include <fmt/format.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ip/udp.hpp>

#include "base/check.h"

namespace dynamo::worker {
namespace {

namespace asio = boost::asio;
using asio::ip::address;
using Addresses = std::vector<address>;

bool is_number(const std::string& host) {
  boost::system::error_code error;
  asio::ip::make_address(host, error);
  return !error;
}

bool is_loopback(const address& host) {
  return host.is_loopback();
}

bool is_any(const Addresses& addresses) {
  return addresses.size() == 1 && addresses.front().is_unspecified();
}

// Whether only this machine's processes can be there. Connecting to the unspecified address leads to loopback too.
bool is_here(const Addresses& addresses) {
  return !addresses.empty() && std::ranges::all_of(addresses, [](const address& host) {
    return host.is_loopback() || host.is_unspecified();
  });
}

std::string every_address(const Machine& machine) {
  return std::ranges::any_of(machine.addresses, &address::is_v6) ? "::" : "0.0.0.0";
}

// What an announced host is to those who connect to it. Where they are on other machines, a name that leads to loopback here, as a
// machine's own name often does in /etc/hosts, leads elsewhere for them.
Addresses as_others_see(Addresses addresses, const std::string& host, bool is_all_here) {
  if (!is_all_here && !is_number(host)) std::erase_if(addresses, is_loopback);
  return addresses;
}

Addresses ours_of(const Addresses& addresses, const Machine& machine) {
  Addresses ours;
  for (const address& host : addresses) {
    const bool is_ours = host.is_loopback() || std::ranges::count(machine.addresses, host) > 0;
    if (is_ours && std::ranges::count(ours, host) == 0) ours.push_back(host);
  }
  return ours;
}

// For the announced host that a flag named, and its addresses.
void choose_listen_host(const Addresses& announced, const Machine& machine, Whereabouts* out) {
  const Addresses ours = ours_of(announced, machine);
  if (!ours.empty()) out->handoff_host = ours.front().to_string();
  if (ours.size() == 1 || (!ours.empty() && std::ranges::all_of(ours, is_loopback))) {
    out->listen_host = ours.front().to_string();
    return;
  }
  out->listen_host = every_address(machine);
  out->warning =
      fmt::format("listening on every address, because --announce-host {} is {}; --host says where to listen instead",
                  out->announced_host,
                  ours.empty() ? "no address of this machine that others could connect to"
                               : "more than one address of this machine");
}

Addresses interface_addresses() {
  Addresses found;
  ifaddrs* list = nullptr;
  if (::getifaddrs(&list) != 0) return found;
  for (const ifaddrs* entry = list; entry != nullptr; entry = entry->ifa_next) {
    if (entry->ifa_addr == nullptr) continue;
    if (entry->ifa_addr->sa_family == AF_INET) {
      sockaddr_in four;
      std::memcpy(&four, entry->ifa_addr, sizeof(four));
      found.emplace_back(asio::ip::address_v4(ntohl(four.sin_addr.s_addr)));
    } else if (entry->ifa_addr->sa_family == AF_INET6) {
      sockaddr_in6 six;
      std::memcpy(&six, entry->ifa_addr, sizeof(six));
      asio::ip::address_v6::bytes_type bytes;
      std::memcpy(bytes.data(), &six.sin6_addr, bytes.size());
      found.emplace_back(asio::ip::address_v6(bytes, six.sin6_scope_id));
    }
  }
  ::freeifaddrs(list);
  return found;
}

Addresses resolve(const std::string& host) {
  asio::io_context io;
  asio::ip::tcp::resolver resolver(io);
  boost::system::error_code error;
  Addresses found;
  for (const auto& result : resolver.resolve(host, "", error)) found.push_back(result.endpoint().address());
  return found;
}

Result<address> way_to(const HostPort& there) {
  asio::io_context io;
  asio::ip::udp::resolver resolver(io);
  boost::system::error_code error;
  const auto found = resolver.resolve(there.host, std::to_string(there.port), error);
  for (auto place = found.begin(); place != found.end(); ++place) {
    asio::ip::udp::socket socket(io);
    socket.connect(place->endpoint(), error);  // sends nothing: asks for the route
    if (error) continue;
    const auto local = socket.local_endpoint(error);
    if (!error) return local.address();
  }
  return unavailable(fmt::format("no way to {}: {}; name this machine's address with --announce-host",
                                 there.to_string(), error.message()));
}

}  // namespace

Machine this_machine() {
  return {.addresses = interface_addresses(), .resolve = resolve, .way_to = way_to};
}

Result<Whereabouts> choose_whereabouts(const WhereaboutsOptions& options, const Machine& machine) {
  CHECK(!options.planes.empty());
  const auto elsewhere = std::ranges::find_if(
      options.planes, [&](const HostPort& plane) { return !is_here(machine.resolve(plane.host)); });
  const bool is_all_here = elsewhere == options.planes.end();
  const HostPort& plane = is_all_here ? options.planes.front() : *elsewhere;
  Whereabouts out;
  Addresses host;
  if (!options.host.empty()) {
    host = machine.resolve(options.host);
    if (host.empty()) return invalid(fmt::format("--host {}: there is no such host", options.host));
    out.listen_host = host.front().to_string();
  }
  Addresses announced;
  if (!options.announce_host.empty()) {
    out.announced_host = options.announce_host;
    announced = as_others_see(machine.resolve(options.announce_host), options.announce_host, is_all_here);
    if (is_any(announced))
      return invalid(fmt::format("--announce-host {}: nobody can connect to it; name one address, or a host",
                                 options.announce_host));
    if (options.host.empty()) choose_listen_host(announced, machine, &out);
  } else if (!options.host.empty() && !is_any(host)) {
    out.announced_host = options.host;
    announced = as_others_see(host, options.host, is_all_here);
    if (is_here(host) && !is_all_here)
      out.warning = fmt::format("--host {} is on loopback: no process of another machine can connect", options.host);
  }
  if (announced.empty()) {
    TRY(const address own, machine.way_to(plane));
    announced.push_back(own);
  }
  if (out.handoff_host.empty()) out.handoff_host = announced.front().to_string();
  if (out.announced_host.empty()) out.announced_host = out.handoff_host;
  if (out.listen_host.empty()) out.listen_host = out.handoff_host;
  return out;
}

}  // namespace dynamo::worker
