// What the HTTP server counts.
#pragma once

#include <vector>

#include "base/listed_metric.h"

namespace dynamo::http {

inline std::vector<const MetricSpec*> kAllMetrics;

inline const ListedMetric kConnections{&kAllMetrics, MetricSpec::Kind::kGauge, "dynamo_http_connections",
                                       "Connections open."};
inline const ListedMetric kAccepted{&kAllMetrics, MetricSpec::Kind::kCounter, "dynamo_http_accepted_total",
                                    "Connections accepted."};
inline const ListedMetric kResponses{&kAllMetrics, MetricSpec::Kind::kCounter, "dynamo_http_responses_total",
                                     "Responses begun, by class of status (2xx, 4xx, 5xx)."};

}  // namespace dynamo::http
