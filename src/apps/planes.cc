#include "apps/planes.h"

#include <fmt/format.h>

#include <cstdlib>

#include "discovery/etcd/etcd_registry.h"
#include "events/nats/nats_bus.h"
#include "hub/hub_client.h"

namespace dynamo::apps {
namespace {

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

// Of "http://10.0.0.1:2379", as EtcdOptions has it.
Result<HostPort> server_of(const std::string& endpoint) {
  return HostPort::parse(std::string_view(endpoint).substr(endpoint.find("://") + 3));
}

Result<Planes> open_hub(const std::string& address, Time until) {
  Planes planes;
  TRY(auto client, hub::HubClient::connect({.address = address}, until));
  planes.registry = client.get();
  planes.bus = std::move(client);
  TRY(HostPort server, HostPort::parse(address));
  planes.servers = {std::move(server)};
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
  for (const std::string& endpoint : etcd.endpoints) {
    TRY(HostPort server, server_of(endpoint));
    planes.servers.push_back(std::move(server));
  }
  for (const std::string& address : nats.servers) {
    TRY(events::NatsServer server, events::parse_nats_server(address));
    planes.servers.push_back({std::move(server.host), server.port});
  }
  TRY(planes.own_registry, discovery::EtcdRegistry::connect(std::move(etcd), until));
  TRY(planes.bus, events::NatsBus::connect(std::move(nats), until));
  planes.registry = planes.own_registry.get();
  return planes;
}

Status check_name_space(std::string* name) {
  const bool is_right =
      !name->empty() &&
      name->find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") == std::string::npos;
  return is_right ? Status() : invalid("'" + *name + "': letters, digits, '-' and '_' make a namespace");
}

}  // namespace

OptionSet options_of(PlaneFlags* flags) {
  OptionSet options;
  options.add("--namespace", checked(&flags->name_space, "NAME", check_name_space),
              "Workers and frontends of one namespace find each other");
  options.add("--hub", address(&flags->hub),
              fmt::format("host:port of the hub. Without it, and without etcd and NATS: 127.0.0.1:{}", kHubPort));
  options
      .add("--etcd-endpoints", text(&flags->etcd_endpoints),
           "etcd, for several machines: http://host:2379, more with commas")
      .from("ETCD_ENDPOINTS");
  options
      .add("--nats-server", text(&flags->nats_server), "NATS, for several machines: nats://host:4222, more with commas")
      .from("NATS_SERVER");
  options.add("--startup-timeout", seconds(&flags->startup_timeout, 1, 86400),
              "Seconds to wait for discovery and events at start");
  return options;
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
  const Time until = Clock::steady().now() + flags.startup_timeout;
  const bool has_cluster = !flags.etcd_endpoints.empty() || !flags.nats_server.empty();
  if (!flags.hub.empty()) return open_hub(flags.hub, until);  // a flag, or DYN_HUB from `serve`, says it outright
  if (has_cluster) return open_cluster(flags, until);
  return open_hub(fmt::format("127.0.0.1:{}", kHubPort), until);
}

}  // namespace dynamo::apps
