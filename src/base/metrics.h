// Numbers that /metrics shows: counters, gauges and histograms in Prometheus text format.
//
// Each module declares its metrics once, as MetricSpec constants in its metrics.h, with unit and meaning;
// docs/reference/metrics.md is printed from the same constants. Names start with `dynamo_` and end with the unit.
// Threads: everything here may be called from any thread.  Format: Prometheus text exposition 0.0.4.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>

namespace prometheus {
class Registry;
}

namespace dynamo {

struct MetricSpec {
  enum class Kind { kCounter, kGauge, kHistogram };
  Kind kind;
  const char* name;
  const char* meaning;               // with unit
  std::vector<double> buckets = {};  // upper bounds, histograms only
};

using MetricLabels = std::map<std::string, std::string>;

// One process's metrics. What it hands out lives as long as it does.
class Metrics {
 public:
  Metrics();
  ~Metrics();
  Metrics(const Metrics&) = delete;
  Metrics& operator=(const Metrics&) = delete;

  // The metric of `spec` with these label values; the same one on every call. Requires: the spec's kind matches.
  prometheus::Counter& counter(const MetricSpec& spec, const MetricLabels& labels = {});
  prometheus::Gauge& gauge(const MetricSpec& spec, const MetricLabels& labels = {});
  prometheus::Histogram& histogram(const MetricSpec& spec, const MetricLabels& labels = {});

  // Everything that has, or gets, the label `name` with `value` is shown with `shown` from now on: what it counted goes on under that.
  // Requires: nothing else is shown with `shown`.
  void show_label(const std::string& name, const std::string& value, std::string shown);

  // `update` runs before each expose(), to set gauges that are cheaper to read than to keep.
  void before_expose(std::function<void()> update);

  // All metrics as text.
  std::string expose() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace dynamo
