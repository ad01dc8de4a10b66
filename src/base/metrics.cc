#include "base/metrics.h"

#include <utility>

#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

#include "base/check.h"
#include "base/mutex.h"

namespace dynamo {

struct Metrics::State {
  prometheus::Registry registry;
  Mutex mutex;
  std::vector<std::function<void()>> updates GUARDED_BY(mutex);
  std::map<std::pair<std::string, std::string>, std::string> shown GUARDED_BY(mutex);  // by a label's name and value
};

Metrics::Metrics() : state_(std::make_unique<State>()) {}
Metrics::~Metrics() = default;

prometheus::Counter& Metrics::counter(const MetricSpec& spec, const MetricLabels& labels) {
  CHECK(spec.kind == MetricSpec::Kind::kCounter);
  return prometheus::BuildCounter().Name(spec.name).Help(spec.meaning).Register(state_->registry).Add(labels);
}

prometheus::Gauge& Metrics::gauge(const MetricSpec& spec, const MetricLabels& labels) {
  CHECK(spec.kind == MetricSpec::Kind::kGauge);
  return prometheus::BuildGauge().Name(spec.name).Help(spec.meaning).Register(state_->registry).Add(labels);
}

prometheus::Histogram& Metrics::histogram(const MetricSpec& spec, const MetricLabels& labels) {
  CHECK(spec.kind == MetricSpec::Kind::kHistogram);
  return prometheus::BuildHistogram()
      .Name(spec.name)
      .Help(spec.meaning)
      .Register(state_->registry)
      .Add(labels, spec.buckets);
}

void Metrics::before_expose(std::function<void()> update) {
  MutexLock lock(state_->mutex);
  state_->updates.push_back(std::move(update));
}

void Metrics::show_label(const std::string& name, const std::string& value, std::string shown) {
  MutexLock lock(state_->mutex);
  state_->shown[{name, value}] = std::move(shown);
}

std::string Metrics::expose() const {
  MutexLock lock(state_->mutex);
  for (const auto& update : state_->updates) update();
  std::vector<prometheus::MetricFamily> families = state_->registry.Collect();
  if (!state_->shown.empty()) {
    for (prometheus::MetricFamily& family : families) {
      for (prometheus::ClientMetric& metric : family.metric) {
        for (auto& label : metric.label) {
          const auto other = state_->shown.find({label.name, label.value});
          if (other != state_->shown.end()) label.value = other->second;
        }
      }
    }
  }
  return prometheus::TextSerializer().Serialize(families);
}

}  // namespace dynamo
