#include "router/router.h"

#include "base/check.h"
#include "base/log.h"
#include "router/metrics.h"

namespace dynamo::router {

struct Router::Worker {
  RoutedWorker routed;
  prometheus::Counter* decisions = nullptr;
  prometheus::Counter* refusals = nullptr;
  prometheus::Gauge* active_gauge = nullptr;
  std::atomic<uint64_t> active{0};
};

// Counts a request as its worker's until it is over.
class Router::Routed final : public Generation {
 public:
  explicit Routed(std::shared_ptr<Worker> worker) : worker_(std::move(worker)) {
    worker_->active_gauge->Set(static_cast<double>(++worker_->active));
  }
  ~Routed() override { worker_->active_gauge->Set(static_cast<double>(--worker_->active)); }

  void attach(std::unique_ptr<Generation> inner) { inner_ = std::move(inner); }
  Task<Result<TokenChunk>> next() override { return inner_->next(); }

 private:
  std::shared_ptr<Worker> worker_;
  std::unique_ptr<Generation> inner_;
};

Router::Router(std::vector<RoutedWorker> workers, std::unique_ptr<Policy> policy, Metrics* metrics)
    : policy_(std::move(policy)) {
  CHECK(!workers.empty());
  for (RoutedWorker& routed : workers) {
    auto worker = std::make_shared<Worker>();
    const MetricLabels labels = {{"worker", routed.name}};
    worker->decisions = &metrics->counter(kDecisions, labels);
    worker->refusals = &metrics->counter(kRefusals, labels);
    worker->active_gauge = &metrics->gauge(kActive, labels);
    worker->routed = std::move(routed);
    workers_.push_back(std::move(worker));
  }
}

Router::~Router() = default;

Task<Result<std::unique_ptr<Generation>>> Router::generate(GenerateRequest request) {
  std::vector<Candidate> candidates;
  for (size_t i = 0; i < workers_.size(); ++i)
    candidates.push_back({.worker = i, .active_requests = workers_[i]->active});
  Status refusal;
  while (!candidates.empty()) {
    const size_t chosen = policy_->choose(request, candidates);
    const std::shared_ptr<Worker> worker = workers_[candidates[chosen].worker];
    LOG(debug, "Selected " + worker->routed.name, {"request_id", request.id});
    auto routed = std::make_unique<Routed>(worker);
    worker->decisions->Increment();
    GenerateRequest copy = request;
    auto started = co_await worker->routed.generator->generate(std::move(copy));
    if (started.is_ok()) {
      routed->attach(std::move(started).value());
      std::unique_ptr<Generation> generation = std::move(routed);
      co_return generation;
    }
    refusal = started.status();
    if (refusal.code() != Code::kUnavailable && refusal.code() != Code::kExhausted) break;
    worker->refusals->Increment();
    candidates.erase(candidates.begin() + static_cast<std::ptrdiff_t>(chosen));
    if (!candidates.empty()) {
      LOG(debug, fmt::format("Worker {} refused, rerouting", worker->routed.name), {"request_id", request.id},
          {"why", refusal.to_string()});
    }
  }
  co_return refusal;
}

std::vector<uint64_t> Router::active_requests() const {
  std::vector<uint64_t> active;
  for (const auto& worker : workers_) active.push_back(worker->active);
  return active;
}

}  // namespace dynamo::router
