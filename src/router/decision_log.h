// The last decisions, with everything that led to them: what /router/explain shows, and what the log says of each.
// A decision is written once and then shared: who reads it needs no lock, and costs who decides no more than the copy
// of a pointer.
// Threads: the log one at a time; decisions any.  Private to the module.
#pragma once

#include <chrono>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <boost/json/object.hpp>

#include "router/candidates.h"

namespace dynamo::router {

struct Decision {
  struct Considered {
    std::string worker;
    Candidate as;  // its `name` is empty
  };
  std::string request_id;
  std::optional<Pool> pool;  // none: there are no prefill workers
  std::chrono::system_clock::time_point at;
  std::string_view mode;  // mode_name()'s
  double overlap_weight = 0;
  double temperature = 0;
  uint32_t prompt_tokens = 0;
  uint32_t prompt_blocks = 0;
  uint32_t attempt = 0;                // 0: the first
  size_t candidates = 0;               // workers that could have taken it
  std::vector<Considered> considered;  // those, or of many those with the lowest costs
  std::vector<LeftOut> left_out;
  std::string chosen;  // empty: nobody
  std::string reason;
  uint32_t overlap_blocks = 0;    // of the chosen one
  uint64_t cached_tokens = 0;     // there, of the prompt
  bool has_best_overlap = false;  // no candidate has more
  std::string prefill;            // kDecode: who computes the prompt, or why it is computed here
};

using DecisionRecord = std::shared_ptr<const Decision>;
using Decisions = std::vector<DecisionRecord>;

// Of many candidates those with the lowest costs, in the order they are in: the rest would fill the log and nobody
// would read them.
std::vector<Decision::Considered> most_likely(const std::vector<Candidate>& candidates);

// As docs/reference/routing.md has it. Cost: some ten microseconds with many candidates; not under a lock.
boost::json::object to_json(const Decision& decision);

// Says at debug what was decided. `prefill`: null if the prompt is computed where it is decoded. `is_by_cost`: overlaps
// are what it was decided by.  Threads: any; not under a lock.
void log_decisions(const Decision* prefill, const Decision& decode, bool is_by_cost);

class DecisionLog {
 public:
  explicit DecisionLog(size_t most) : most_(most) {}
  DecisionRecord add(Decision decision);
  // Newest first, at most `last`; of one request if `request_id` is not empty. Cost: that of the pointers.
  Decisions latest(size_t last, std::string_view request_id) const;

 private:
  size_t most_;
  std::deque<DecisionRecord> decisions_;
};

}  // namespace dynamo::router
