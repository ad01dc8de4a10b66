// Every worker in turn, in the order of the candidates.
#include <algorithm>

#include "router/policy.h"

namespace dynamo::router {
namespace {

class RoundRobinPolicy final : public Policy {
 public:
  // The next instance after the last one chosen, so that a worker that comes, goes or is left out for a while does not make another
  // one be passed over.
  std::optional<Choice> choose(const GenerateRequest&, std::span<const Candidate> candidates, double) override {
    size_t next = 0;
    bool is_found = false;
    for (size_t i = 0; i < candidates.size(); ++i) {
      if (candidates[i].instance <= last_) continue;
      if (!is_found || candidates[i].instance < candidates[next].instance) next = i;
      is_found = true;
    }
    if (!is_found) {
      const auto first = std::ranges::min_element(candidates, {}, &Candidate::instance);
      next = static_cast<size_t>(first - candidates.begin());
    }
    last_ = candidates[next].instance;
    return Choice{next, "next_in_turn"};
  }

 private:
  uint64_t last_ = 0;
};

}  // namespace

std::unique_ptr<Policy> make_round_robin_policy() {
  return std::make_unique<RoundRobinPolicy>();
}

}  // namespace dynamo::router
