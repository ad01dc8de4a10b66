#include "router/policy.h"

#include <random>

namespace dynamo::router {

std::optional<Mode> parse_mode(std::string_view name) {
  if (name == "round-robin") return Mode::kRoundRobin;
  if (name == "random") return Mode::kRandom;
  return std::nullopt;
}

std::unique_ptr<Policy> make_policy(Mode mode) {
  switch (mode) {
    case Mode::kRoundRobin:
      return make_round_robin_policy();
    case Mode::kRandom:
      return make_random_policy(std::random_device{}());
  }
  return nullptr;
}

}  // namespace dynamo::router
