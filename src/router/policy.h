// How a worker is chosen for a request. One file per policy, in policies/.
// Threads: choose() is called by one thread at a time.  Private to the module.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

#include "generate/generate_request.h"
#include "kv/tier.h"
#include "router/settings.h"

namespace dynamo::router {

// What a policy may know of a worker that could take the request.
struct Candidate {
  std::string_view name;  // "worker-1"
  uint64_t instance = 0;
  uint64_t active_requests = 0;  // sent by this router and not over yet
  kv::PerTier<uint32_t> overlap =
      {};                     // leading blocks of the prompt that it holds; a tier goes on where those above end
  double prefill_blocks = 0;  // prompt tokens it has still to compute, this request's included, in blocks
  double decode_blocks = 0;   // distinct blocks it works on, this request's included
  uint64_t sequences = 0;     // in flight there, whoever sent them
  double rounds = 0;          // of answers that end there before this request's begins; 0: it has a place
  double cost = 0;            // of all that (router/cost.h); lower is better

  uint32_t overlap_blocks() const { return overlap[kv::Tier::kDevice]; }
};

struct Choice {
  size_t index = 0;         // into the candidates
  std::string_view reason;  // why, in a few fixed words: a label of metrics
};

class Policy {
 public:
  virtual ~Policy() = default;
  // Candidates are in the order of their names, "worker-2" before "worker-10". `temperature` is the request's own or
  // the router's. Returns: none if no candidate will do (kDirect and libraries only).
  // Requires: candidates are not empty.
  virtual std::optional<Choice> choose(const GenerateRequest& request, std::span<const Candidate> candidates,
                                       double temperature) = 0;
};

// Same seed, same choices.
std::unique_ptr<Policy> make_kv_policy(uint64_t seed);
std::unique_ptr<Policy> make_round_robin_policy();
std::unique_ptr<Policy> make_random_policy(uint64_t seed);
std::unique_ptr<Policy> make_power_of_two_policy(uint64_t seed);
std::unique_ptr<Policy> make_least_loaded_policy(uint64_t seed);
std::unique_ptr<Policy> make_direct_policy();
std::unique_ptr<Policy> make_policy(Mode mode, uint64_t seed);

}  // namespace dynamo::router
