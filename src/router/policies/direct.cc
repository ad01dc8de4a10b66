// The worker that the request names.
#include "router/policy.h"

namespace dynamo::router {
namespace {

class DirectPolicy final : public Policy {
 public:
  std::optional<Choice> choose(const GenerateRequest& request, std::span<const Candidate> candidates, double) override {
    for (size_t i = 0; i < candidates.size(); ++i)
      if (candidates[i].instance == request.routing.instance) return Choice{i, "named_by_request"};
    return std::nullopt;
  }
};

}  // namespace

std::unique_ptr<Policy> make_direct_policy() {
  return std::make_unique<DirectPolicy>();
}

}  // namespace dynamo::router
