// How a worker is chosen for a request. One file per policy.
// Threads: choose() may be called from any thread at once.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "generate/generate_request.h"

namespace dynamo::router {

// What a policy may know of a worker that could take the request.
struct Candidate {
  size_t worker = 0;             // index in the router's list
  uint64_t active_requests = 0;  // sent by this router and not over yet
};

class Policy {
 public:
  virtual ~Policy() = default;
  // Returns: an index into `candidates`. Requires: not empty.
  virtual size_t choose(const GenerateRequest& request, std::span<const Candidate> candidates) = 0;
};

// Every worker in turn, in the router's order.
std::unique_ptr<Policy> make_round_robin_policy();
// Each worker with the same chance. Same seed, same choices.
std::unique_ptr<Policy> make_random_policy(uint64_t seed);

enum class Mode : uint8_t { kRoundRobin, kRandom };
std::optional<Mode> parse_mode(std::string_view name);  // "round-robin", "random"
std::unique_ptr<Policy> make_policy(Mode mode);

}  // namespace dynamo::router
