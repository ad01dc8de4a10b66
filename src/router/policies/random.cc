// Each worker with the same chance.
#include <random>

#include "router/policy.h"

namespace dynamo::router {
namespace {

class RandomPolicy final : public Policy {
 public:
  explicit RandomPolicy(uint64_t seed) : random_(seed) {}

  std::optional<Choice> choose(const GenerateRequest&, std::span<const Candidate> candidates, double) override {
    return Choice{std::uniform_int_distribution<size_t>(0, candidates.size() - 1)(random_), "random"};
  }

 private:
  std::mt19937_64 random_;
};

}  // namespace

std::unique_ptr<Policy> make_random_policy(uint64_t seed) {
  return std::make_unique<RandomPolicy>(seed);
}

}  // namespace dynamo::router
