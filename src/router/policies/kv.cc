// The lowest cost wins; with a temperature, lower costs are likelier.
#include <algorithm>
#include <cmath>
#include <random>

#include "router/policy.h"

namespace dynamo::router {
namespace {

class KvPolicy final : public Policy {
 public:
  explicit KvPolicy(uint64_t seed) : random_(seed) {}

  std::optional<Choice> choose(const GenerateRequest&, std::span<const Candidate> candidates,
                               double temperature) override {
    const auto [least, most] = std::ranges::minmax(candidates, {}, &Candidate::cost);
    if (temperature > 0) return draw(candidates, least.cost, most.cost, temperature);
    return Choice{cheapest(candidates, least.cost), "lowest_cost"};
  }

 private:
  // Of equal costs the worker with the fewest requests, of those any.
  size_t cheapest(std::span<const Candidate> candidates, double cost) {
    best_.clear();
    uint64_t fewest = UINT64_MAX;
    for (size_t i = 0; i < candidates.size(); ++i) {
      if (candidates[i].cost > cost || candidates[i].active_requests > fewest) continue;
      if (candidates[i].active_requests < fewest) best_.clear();
      fewest = candidates[i].active_requests;
      best_.push_back(i);
    }
    return best_[std::uniform_int_distribution<size_t>(0, best_.size() - 1)(random_)];
  }

  // Softmax over costs scaled to [0, 1], so that the temperature means the same whatever the prompts' lengths.
  Choice draw(std::span<const Candidate> candidates, double least, double most, double temperature) {
    const double range = most > least ? most - least : 1;
    weights_.clear();
    for (const Candidate& candidate : candidates)
      weights_.push_back(std::exp(-(candidate.cost - least) / range / temperature));
    return {std::discrete_distribution<size_t>(weights_.begin(), weights_.end())(random_), "drawn_by_cost"};
  }

  std::mt19937_64 random_;
  std::vector<size_t> best_;
  std::vector<double> weights_;
};

}  // namespace

std::unique_ptr<Policy> make_kv_policy(uint64_t seed) {
  return std::make_unique<KvPolicy>(seed);
}

}  // namespace dynamo::router
