// One decision: which worker answers a request, and where its prompt is computed.
//
// It reads the worker table and changes nothing of it. Policies remember and draw, so this is no pure function; what it
// puts together is: candidates.h, prefill_placement.h.  Threads: one at a time, under the lock of the table.
// Private to the module.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "router/candidates.h"
#include "router/decision_log.h"
#include "router/policy.h"
#include "router/worker_table.h"

namespace dynamo::router {

// A request that wants a worker.
struct Asked {
  const GenerateRequest* request = nullptr;
  std::vector<uint64_t> passed_over;  // instances that got it before and failed
  uint32_t attempt = 0;
  std::vector<kv::BlockHash> chain;  // of the prompt
};

// What a decision is made from.
struct Situation {
  const Asked& asked;
  const PromptOverlap& overlap;
  const WorkerTable& workers;
  const RouterSettings& settings;
  Time now;
};

// A worker of one pool, chosen.
struct Chosen {
  std::shared_ptr<Worker> worker;
  uint64_t new_tokens = 0;  // of the prompt, for it to compute
  Decision decision;
};

struct Selection {
  std::optional<Chosen> decode;          // none: see the rest
  std::optional<Chosen> prefill;         // the prompt is computed there
  std::vector<PrefillPlace> prefill_at;  // that one and the next best

  // Without `decode`:
  bool must_wait = false;  // workers are busy
  Status failure;          // else
  Decision refused;        // for the record
};

class Chooser {
 public:
  // `options` outlives it. `answering` and `prefilling` choose in the two pools.
  Chooser(const RouterOptions* options, std::unique_ptr<Policy> answering, std::unique_ptr<Policy> prefilling);

  Selection choose(const Situation& situation);

 private:
  void choose_prefill(const Situation& situation, Weighing* weighing, Selection* made);
  const Candidate* pick(const Situation& situation, Pool pool, const Candidates& candidates, Decision* record);
  Decision record_of(const Situation& situation, const Weighing& weighing, const Candidates& candidates) const;

  const RouterOptions* options_;
  std::unique_ptr<Policy> answering_;
  std::unique_ptr<Policy> prefilling_;
  std::unique_ptr<Policy> direct_ =
      make_direct_policy();  // a request that names its worker gets that one in every mode
};

}  // namespace dynamo::router
