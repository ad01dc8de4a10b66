#include "router/policy.h"

namespace dynamo::router {

std::unique_ptr<Policy> make_policy(Mode mode, uint64_t seed) {
  switch (mode) {
    case Mode::kKv:
      return make_kv_policy(seed);
    case Mode::kRoundRobin:
      return make_round_robin_policy();
    case Mode::kRandom:
      return make_random_policy(seed);
    case Mode::kPowerOfTwo:
      return make_power_of_two_policy(seed);
    case Mode::kLeastLoaded:
      return make_least_loaded_policy(seed);
    case Mode::kDirect:
      return make_direct_policy();
  }
  return nullptr;
}

}  // namespace dynamo::router
