// The last decisions, with everything that led to them: what /router/explain shows.
// A decision is written once and then shared: who reads it needs no lock, and costs who decides no more than the copy of a pointer.
// Threads: the log one at a time; decisions any.
#pragma once

#include <chrono>
#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <boost/json/object.hpp>

namespace dynamo::router {

struct Decision {
  struct Considered {
    std::string worker;
    uint32_t overlap_blocks = 0;
    double prefill_blocks = 0;
    double decode_blocks = 0;
    uint64_t sequences = 0;
    double rounds = 0;
    double cost = 0;
    uint64_t active_requests = 0;
  };
  std::string request_id;
  std::string pool;  // "prefill", "decode"; empty: no prefill workers
  std::chrono::system_clock::time_point at;
  std::string mode;
  double overlap_weight = 0;
  double temperature = 0;
  uint32_t prompt_tokens = 0;
  uint32_t prompt_blocks = 0;
  uint32_t attempt = 0;                // 0: the first
  size_t candidates = 0;               // workers that could have taken it
  std::vector<Considered> considered;  // those, or of many those with the lowest costs
  std::vector<std::string> left_out;   // "worker-2: not connected"
  std::string chosen;                  // empty: nobody
  std::string reason;
  std::string prefill;  // pool "decode": who computes the prompt, or why it is computed here
};

using Decisions = std::vector<std::shared_ptr<const Decision>>;

// As docs/reference/routing.md has it. Cost: some ten microseconds with many candidates; not under a lock.
boost::json::object to_json(const Decision& decision);

class DecisionLog {
 public:
  explicit DecisionLog(size_t most) : most_(most) {}
  void add(Decision decision);
  // Newest first, at most `last`; of one request if `request_id` is not empty. Cost: that of the pointers.
  Decisions latest(size_t last, std::string_view request_id) const;

 private:
  size_t most_;
  std::deque<std::shared_ptr<const Decision>> decisions_;
};

}  // namespace dynamo::router
