// What the HTTP server counts.
#pragma once

#include <vector>

#include "base/metrics.h"

namespace dynamo::http {

inline const MetricSpec kConnections{MetricSpec::Kind::kGauge, "dynamo_http_connections", "Connections open."};
inline const MetricSpec kAccepted{MetricSpec::Kind::kCounter, "dynamo_http_accepted_total", "Connections accepted."};
inline const MetricSpec kResponses{MetricSpec::Kind::kCounter, "dynamo_http_responses_total",
                                   "Responses begun, by class of status (2xx, 4xx, 5xx)."};

inline const std::vector<const MetricSpec*> kAllMetrics = {&kConnections, &kAccepted, &kResponses};

}  // namespace dynamo::http
