#include "router/metrics.h"

#include <algorithm>

namespace dynamo::router {
namespace {

std::vector<MetricSpec> all_specs() {
  std::vector<MetricSpec> specs;
  Metrics nowhere;
  const WorkerMetrics worker(&nowhere, "", "", &specs);
  const RouterMetrics router(&nowhere, "", &specs);
  return specs;
}

const std::vector<MetricSpec> kSpecs = all_specs();

}  // namespace

void WorkerMetrics::count_decision(std::string_view reason) {
  auto known = std::ranges::find_if(by_reason_, [&](const auto& counter) { return counter.first == reason; });
  if (known == by_reason_.end()) {
    MetricLabels labels = labels_;
    labels["reason"] = reason;
    known = by_reason_.insert(known, {std::string(reason), &metrics_->counter(decisions, labels)});
  }
  known->second->Increment();
}

const std::vector<const MetricSpec*> kAllMetrics = [] {
  std::vector<const MetricSpec*> all;
  for (const MetricSpec& spec : kSpecs) all.push_back(&spec);
  return all;
}();

}  // namespace dynamo::router
