// What the router counts. A metric is declared together with what it is bound to, and the docs list what is declared:
// so none can be forgotten.  Threads: any, but count_decision() under the lock of the worker table.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/metrics.h"

namespace dynamo::router {

// Metrics with the same labels.
class MetricSet {
 protected:
  // `specs`, unless null, gets what is declared.
  MetricSet(Metrics* metrics, MetricLabels labels, std::vector<MetricSpec>* specs)
      : metrics_(metrics), labels_(std::move(labels)), specs_(specs) {}
  prometheus::Counter* counter(const char* name, const char* meaning) {
    return &metrics_->counter(declared({MetricSpec::Kind::kCounter, name, meaning}), labels_);
  }
  prometheus::Gauge* gauge(const char* name, const char* meaning) {
    return &metrics_->gauge(declared({MetricSpec::Kind::kGauge, name, meaning}), labels_);
  }
  prometheus::Histogram* histogram(const char* name, const char* meaning, std::vector<double> buckets) {
    return &metrics_->histogram(declared({MetricSpec::Kind::kHistogram, name, meaning, std::move(buckets)}), labels_);
  }
  MetricSpec declared(MetricSpec spec) {
    if (specs_ != nullptr) specs_->push_back(spec);
    return spec;
  }

  Metrics* metrics_;
  MetricLabels labels_;

 private:
  std::vector<MetricSpec>* specs_;
};

// Of one router. Label: model.
struct RouterMetrics : MetricSet {
  RouterMetrics(Metrics* metrics, const std::string& model, std::vector<MetricSpec>* specs = nullptr)
      : MetricSet(metrics, {{"model", model}}, specs) {}
  prometheus::Gauge* distinct_blocks = gauge("dynamo_router_index_distinct_blocks", "Distinct blocks in the index.");
  prometheus::Gauge* index_bytes =
      gauge("dynamo_router_index_bytes", "Memory of the index; --router-index-mib is its limit.");
  prometheus::Gauge* evicted_blocks =
      gauge("dynamo_router_index_evicted_blocks", "Distinct blocks that the index has forgotten at its limit so far.");
  prometheus::Counter* ignored = counter("dynamo_router_ignored_messages_total",
                                         "Messages of the event bus about unknown workers, or that could not be read.");
  prometheus::Counter* policy_faults =
      counter("dynamo_router_policy_faults_total",
              "Choices of a policy library that could not be used; the mode's own policy made them.");
  prometheus::Gauge* waiting =
      gauge("dynamo_router_waiting_requests", "Requests that wait because every worker is busy.");
  prometheus::Histogram* decision_seconds =
      histogram("dynamo_router_decision_seconds", "Time that choosing a worker took.",
                {1e-6, 2e-6, 5e-6, 1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 1e-2});
};

// Of one worker. Labels: model and worker.
struct WorkerMetrics : MetricSet {
  WorkerMetrics(Metrics* metrics, const std::string& model, const std::string& worker,
                std::vector<MetricSpec>* specs = nullptr)
      : MetricSet(metrics, {{"model", model}, {"worker", worker}}, specs) {}
  // Has a label more: count_decision().
  MetricSpec decisions = declared({MetricSpec::Kind::kCounter, "dynamo_router_decisions_total",
                                   "Requests sent to a worker, by worker and reason."});
  prometheus::Counter* refusals = counter(
      "dynamo_router_refusals_total", "Requests that a worker refused or failed before their first token, by worker.");
  prometheus::Counter* migrations =
      counter("dynamo_router_migrations_total",
              "Streams that broke off at a worker and went on at another, by the worker that broke.");
  prometheus::Gauge* active_requests =
      gauge("dynamo_router_active_requests", "Requests sent to a worker and not over yet, by worker.");
  prometheus::Gauge* active_blocks = gauge(
      "dynamo_router_active_blocks", "Distinct KV blocks that a worker works on, as the router counts, by worker.");
  prometheus::Gauge* pending_tokens =
      gauge("dynamo_router_pending_prefill_tokens", "Prompt tokens sent to a worker and not computed yet, by worker.");
  prometheus::Counter* prompt_blocks =
      counter("dynamo_router_prompt_blocks_total", "KV blocks of the prompts sent to a worker, by worker.");
  prometheus::Counter* overlap_blocks =
      counter("dynamo_router_overlap_blocks_total",
              "Of those, blocks that the worker held already; the quotient is the hit rate, by worker.");
  prometheus::Gauge* index_blocks =
      gauge("dynamo_router_index_blocks", "Blocks that the index knows of a worker, by worker.");
  prometheus::Gauge* index_state =
      gauge("dynamo_router_index_state",
            "How sure the index is of a worker: 0 unknown, 1 catching up, 2 proven equal, 3 partial for want of "
            "memory, by worker.");
  prometheus::Counter* events = counter("dynamo_router_kv_events_total", "KV events applied, by worker.");
  prometheus::Counter* gaps =
      counter("dynamo_router_kv_event_gaps_total", "Times that KV events were missing, by worker.");
  prometheus::Counter* mismatches = counter("dynamo_router_kv_mismatches_total",
                                            "Times that a worker's digest was another than the index's, by worker.");
  prometheus::Counter* snapshots =
      counter("dynamo_router_kv_snapshots_total", "Snapshots taken over from a worker, by worker.");

  void count_decision(std::string_view reason);

 private:
  std::vector<std::pair<std::string, prometheus::Counter*>> by_reason_;
};

extern const std::vector<const MetricSpec*> kAllMetrics;

}  // namespace dynamo::router
