#include <atomic>

#include "router/policy.h"

namespace dynamo::router {
namespace {

class RoundRobinPolicy final : public Policy {
 public:
  size_t choose(const GenerateRequest&, std::span<const Candidate> candidates) override {
    return turn_.fetch_add(1, std::memory_order_relaxed) % candidates.size();
  }

 private:
  std::atomic<size_t> turn_{0};
};

}  // namespace

std::unique_ptr<Policy> make_round_robin_policy() {
  return std::make_unique<RoundRobinPolicy>();
}

}  // namespace dynamo::router
