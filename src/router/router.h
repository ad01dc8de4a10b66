// The Generator that chooses among others: sends each request to one worker, and to another if that one will not take it.
// Threads: as Generator; the list of workers is fixed.
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "base/metrics.h"
#include "generate/generator.h"
#include "router/policy.h"

namespace dynamo::router {

struct RoutedWorker {
  std::string name;  // "worker-1"
  std::shared_ptr<Generator> generator;
};

class Router final : public Generator {
 public:
  // Requires: workers is not empty. `metrics` outlives the router.
  Router(std::vector<RoutedWorker> workers, std::unique_ptr<Policy> policy, Metrics* metrics);
  ~Router() override;

  // A worker that answers kUnavailable or kExhausted is passed over for the next choice among the rest; other failures are the
  // request's own. Errors: those of the last worker tried.
  Task<Result<std::unique_ptr<Generation>>> generate(GenerateRequest request) override;

  // Requests sent to each worker and not over yet, in the workers' order.
  std::vector<uint64_t> active_requests() const;

 private:
  struct Worker;
  class Routed;
  std::vector<std::shared_ptr<Worker>> workers_;
  std::unique_ptr<Policy> policy_;
};

}  // namespace dynamo::router
