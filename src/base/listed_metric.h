// A metric that its declaration puts into its module's list, so that none can be missing from docs/reference/metrics.md.
//   inline std::vector<const MetricSpec*> kAllMetrics;
//   inline const ListedMetric kAccepted{&kAllMetrics, MetricSpec::Kind::kCounter, "dynamo_http_accepted_total", "..."};
// Threads: made before main(), read by any.
#pragma once

#include <utility>
#include <vector>

#include "base/metrics.h"

namespace dynamo {

struct ListedMetric : MetricSpec {
  // Requires: `list` is defined above this in the same file.
  ListedMetric(std::vector<const MetricSpec*>* list, Kind kind, const char* name, const char* meaning,
               std::vector<double> buckets = {})
      : MetricSpec{kind, name, meaning, std::move(buckets)} {
    list->push_back(this);
  }
  ListedMetric(const ListedMetric&) = delete;
  ListedMetric& operator=(const ListedMetric&) = delete;
};

}  // namespace dynamo
