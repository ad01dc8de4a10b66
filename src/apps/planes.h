// Which discovery and events a process uses: the hub on one machine, etcd and NATS across machines.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "apps/options.h"
#include "base/host_port.h"
#include "base/listed_metric.h"
#include "base/status.h"
#include "discovery/registry.h"
#include "events/event_bus.h"

namespace dynamo::apps {

struct PlaneFlags {
  std::string name_space = "dynamo";
  std::string hub;  // host:port; with neither this nor the next two: 127.0.0.1 and kHubPort
  std::string etcd_endpoints;
  std::string nats_server;
  std::chrono::seconds startup_timeout{60};
};

inline constexpr uint16_t kHubPort = 4730;

OptionSet options_of(PlaneFlags* flags);

struct Planes {
  std::unique_ptr<discovery::Registry> own_registry;  // null: the bus is the registry too
  std::unique_ptr<events::EventBus> bus;
  discovery::Registry* registry = nullptr;
  std::vector<HostPort> servers;  // of discovery, then of events
};

// Connects. Errors: kInvalid (contradicting flags, wrong scheme, credentials), kUnavailable (nobody answers: the
// address and remedy).
Result<Planes> open_planes(const PlaneFlags& flags);

inline std::vector<const MetricSpec*> kPlaneMetrics;

inline const ListedMetric kDiscoveryConnected{&kPlaneMetrics, MetricSpec::Kind::kGauge, "dynamo_discovery_connected",
                                              "Whether discovery (hub or etcd) answered when last asked: 0 or 1."};
inline const ListedMetric kEventsConnected{&kPlaneMetrics, MetricSpec::Kind::kGauge, "dynamo_events_connected",
                                           "Whether the event bus (hub or NATS) is connected: 0 or 1."};
inline const ListedMetric kEventsDropped{&kPlaneMetrics, MetricSpec::Kind::kGauge, "dynamo_events_dropped_messages",
                                         "Messages of the event bus known to be lost in this process so far."};
// Keeps these up to date whenever `metrics` are read. Requires: the planes stay where they are for as long as that
// happens.
void show_planes(const Planes& planes, Metrics* metrics);

}  // namespace dynamo::apps
