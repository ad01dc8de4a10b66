// Every worker in turn, by name.
#include <algorithm>
#include <string>

#include "router/policy.h"

namespace dynamo::router {
namespace {

class RoundRobinPolicy final : public Policy {
 public:
  // The one after the last one chosen, by name, so that a worker that comes, goes or is left out for a while does not
  // make another one be passed over.
  std::optional<Choice> choose(const GenerateRequest&, std::span<const Candidate> candidates, double) override {
    const auto is_later = [&](const Candidate& candidate) {
      return std::pair(candidate.name.size(), candidate.name) > std::pair(last_.size(), std::string_view(last_));
    };
    const auto later = std::ranges::find_if(candidates, is_later);
    const auto next = later == candidates.end() ? candidates.begin() : later;
    last_ = next->name;
    return Choice{static_cast<size_t>(next - candidates.begin()), "next_in_turn"};
  }

 private:
  std::string last_;
};

}  // namespace

std::unique_ptr<Policy> make_round_robin_policy() {
  return std::make_unique<RoundRobinPolicy>();
}

}  // namespace dynamo::router
