// The worker with the fewest requests; of those with as few, any.
#include <random>

#include "router/policy.h"

namespace dynamo::router {
namespace {

class LeastLoadedPolicy final : public Policy {
 public:
  explicit LeastLoadedPolicy(uint64_t seed) : random_(seed) {}

  std::optional<Choice> choose(const GenerateRequest&, std::span<const Candidate> candidates, double) override {
    size_t best = 0;
    uint64_t equal = 0;  // how many were as good as the best so far
    for (size_t i = 0; i < candidates.size(); ++i) {
      if (candidates[i].active_requests > candidates[best].active_requests) continue;
      equal = candidates[i].active_requests < candidates[best].active_requests ? 1 : equal + 1;
      if (random_() % equal == 0) best = i;
    }
    return Choice{best, "fewest_requests"};
  }

 private:
  std::mt19937_64 random_;
};

}  // namespace

std::unique_ptr<Policy> make_least_loaded_policy(uint64_t seed) {
  return std::make_unique<LeastLoadedPolicy>(seed);
}

}  // namespace dynamo::router
