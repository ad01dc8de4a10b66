#include "base/metrics.h"

#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

#include "base/check.h"
#include "base/mutex.h"

namespace dynamo {

struct Metrics::State {
  prometheus::Registry registry;
  Mutex mutex;
  std::vector<std::function<void()>> updates GUARDED_BY(mutex);
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

std::string Metrics::expose() const {
  {
    MutexLock lock(state_->mutex);
    for (const auto& update : state_->updates) update();
  }
  return prometheus::TextSerializer().Serialize(state_->registry.Collect());
}

}  // namespace dynamo
