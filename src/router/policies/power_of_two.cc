// The less loaded of two workers drawn at random.  Source: Mitzenmacher 2001, "The power of two choices".
#include <random>

#include "router/policy.h"

namespace dynamo::router {
namespace {

class PowerOfTwoPolicy final : public Policy {
 public:
  explicit PowerOfTwoPolicy(uint64_t seed) : random_(seed) {}

  std::optional<Choice> choose(const GenerateRequest&, std::span<const Candidate> candidates, double) override {
    if (candidates.size() == 1) return Choice{0, "only_one"};
    const size_t first = std::uniform_int_distribution<size_t>(0, candidates.size() - 1)(random_);
    size_t second = std::uniform_int_distribution<size_t>(0, candidates.size() - 2)(random_);
    if (second >= first) ++second;
    const bool is_first = candidates[first].active_requests <= candidates[second].active_requests;
    return Choice{is_first ? first : second, "less_loaded_of_two"};
  }

 private:
  std::mt19937_64 random_;
};

}  // namespace

std::unique_ptr<Policy> make_power_of_two_policy(uint64_t seed) {
  return std::make_unique<PowerOfTwoPolicy>(seed);
}

}  // namespace dynamo::router
