// What the router counts.
#pragma once

#include "base/metrics.h"

namespace dynamo::router {

inline const MetricSpec kDecisions{MetricSpec::Kind::kCounter, "dynamo_router_decisions_total",
                                   "Requests sent to a worker, by worker."};
inline const MetricSpec kRefusals{MetricSpec::Kind::kCounter, "dynamo_router_refusals_total",
                                  "Requests that a worker would not take and that went on to another, by worker."};
inline const MetricSpec kActive{MetricSpec::Kind::kGauge, "dynamo_router_active_requests",
                                "Requests sent to a worker and not over yet, by worker."};

inline const std::vector<const MetricSpec*> kAllMetrics = {&kDecisions, &kRefusals, &kActive};

}  // namespace dynamo::router
