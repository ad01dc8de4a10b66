#include "apps/planes.h"

#include <fmt/format.h>

#include <cstdlib>

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/udp.hpp>

#include "discovery/etcd/etcd_registry.h"
#include "events/nats/nats_bus.h"
#include "hub/hub_client.h"

namespace dynamo::apps {
namespace {

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

// "http://10.0.0.1:2379,..." without scheme, user and what follows the first.
std::string first_address(std::string text) {
  text = text.substr(0, text.find(','));
  if (const size_t scheme = text.find("://"); scheme != std::string::npos) text.erase(0, scheme + 3);
  if (const size_t user = text.rfind('@'); user != std::string::npos) text.erase(0, user + 1);
  return text.substr(0, text.find('/'));
}

Result<Planes> open_hub(const std::string& address, Time until) {
  Planes planes;
  TRY(auto client, hub::HubClient::connect({.address = address}, until));
  planes.registry = client.get();
  planes.bus = std::move(client);
  planes.address_to_reach = address;
  return planes;
}

Result<Planes> open_cluster(const PlaneFlags& flags, Time until) {
  Planes planes;
  TRY(discovery::EtcdOptions etcd,
      discovery::etcd_options_from(flags.etcd_endpoints.empty() ? "http://localhost:2379" : flags.etcd_endpoints));
  etcd.username = variable("ETCD_AUTH_USERNAME");
  etcd.password = variable("ETCD_AUTH_PASSWORD");
  etcd.ca_file = variable("ETCD_AUTH_CA");
  etcd.cert_file = variable("ETCD_AUTH_CLIENT_CERT");
  etcd.key_file = variable("ETCD_AUTH_CLIENT_KEY");
  TRY(events::NatsOptions nats,
      events::nats_options_from(flags.nats_server.empty() ? "nats://localhost:4222" : flags.nats_server));
  nats.user = variable("NATS_AUTH_USERNAME");
  nats.password = variable("NATS_AUTH_PASSWORD");
  nats.token = variable("NATS_AUTH_TOKEN");
  nats.ca_file = variable("NATS_AUTH_CA");
  nats.cert_file = variable("NATS_AUTH_CLIENT_CERT");
  nats.key_file = variable("NATS_AUTH_CLIENT_KEY");
  planes.address_to_reach = first_address(etcd.endpoints.front());
  TRY(planes.own_registry, discovery::EtcdRegistry::connect(std::move(etcd), until));
  TRY(planes.bus, events::NatsBus::connect(std::move(nats), until));
  planes.registry = planes.own_registry.get();
  return planes;
}

}  // namespace

void declare_plane_flags(CLI::App* command, PlaneFlags* flags) {
  add_flag(command, "--namespace", flags->name_space, "Workers and frontends of one namespace find each other")
      ->check(CLI::Validator(
          [](std::string& name) {
            const bool is_right =
                !name.empty() &&
                name.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") ==
                    std::string::npos;
            return is_right ? std::string() : "'" + name + "': letters, digits, '-' and '_' make a namespace";
          },
          "NAME"));
  add_flag(command, "--hub", flags->hub,
           fmt::format("host:port of the hub. Without it, and without etcd and NATS: 127.0.0.1:{}", kHubPort));
  command
      ->add_option("--etcd-endpoints", flags->etcd_endpoints,
                   "etcd, for several machines: http://host:2379, more with commas")
      ->envname("ETCD_ENDPOINTS");
  command
      ->add_option("--nats-server", flags->nats_server,
                   "NATS, for several machines: nats://host:4222, more with commas")
      ->envname("NATS_SERVER");
  add_flag(command, "--startup-timeout", flags->startup_timeout, "Seconds to wait for discovery and events at start")
      ->check(CLI::Range(1, 86400));
}

void show_planes(const Planes& planes, Metrics* metrics) {
  metrics->before_expose([registry = planes.registry, bus = planes.bus.get(),
                          &discovery = metrics->gauge(kDiscoveryConnected), &events = metrics->gauge(kEventsConnected),
                          &dropped = metrics->gauge(kEventsDropped)] {
    discovery.Set(registry->is_connected() ? 1 : 0);
    events.Set(bus->is_connected() ? 1 : 0);
    dropped.Set(static_cast<double>(bus->dropped()));
  });
}

Result<Planes> open_planes(const PlaneFlags& flags) {
  const Time until = Clock::steady().now() + std::chrono::seconds(flags.startup_timeout);
  const bool has_cluster = !flags.etcd_endpoints.empty() || !flags.nats_server.empty();
  if (!flags.hub.empty()) return open_hub(flags.hub, until);  // a flag, or DYN_HUB from `serve`, says it outright
  if (has_cluster) return open_cluster(flags, until);
  return open_hub(fmt::format("127.0.0.1:{}", kHubPort), until);
}

Result<std::string> local_address_towards(const std::string& host_and_port) {
  namespace asio = boost::asio;
  const size_t colon = host_and_port.rfind(':');
  std::string host = host_and_port.substr(0, colon);
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  asio::io_context io;
  boost::system::error_code error;
  asio::ip::udp::resolver resolver(io);
  const auto found = resolver.resolve(host, colon == std::string::npos ? "1" : host_and_port.substr(colon + 1), error);
  asio::ip::udp::socket socket(io);
  if (!error && !found.empty()) socket.connect(*found.begin(), error);  // sends nothing: asks for the route
  const auto local = error ? asio::ip::udp::endpoint() : socket.local_endpoint(error);
  if (error) return unavailable(fmt::format("no way to {}: {}", host_and_port, error.message()));
  const auto address = local.address();
  return address.is_v6() ? "[" + address.to_string() + "]" : address.to_string();
}

}  // namespace dynamo::apps
