#include <random>

#include "base/mutex.h"
#include "router/policy.h"

namespace dynamo::router {
namespace {

class RandomPolicy final : public Policy {
 public:
  explicit RandomPolicy(uint64_t seed) : random_(seed) {}

  size_t choose(const GenerateRequest&, std::span<const Candidate> candidates) override {
    MutexLock lock(mutex_);
    return std::uniform_int_distribution<size_t>(0, candidates.size() - 1)(random_);
  }

 private:
  Mutex mutex_;
  std::mt19937_64 random_ GUARDED_BY(mutex_);
};

}  // namespace

std::unique_ptr<Policy> make_random_policy(uint64_t seed) {
  return std::make_unique<RandomPolicy>(seed);
}

}  // namespace dynamo::router
