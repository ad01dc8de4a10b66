// How the router decides. Some of it may change while it runs (docs/reference/routing.md).
// Threads: values.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>

#include "kv/kv_layout.h"

namespace dynamo::router {

class PolicyLibrary;  // router/policies/library.h

enum class Mode : uint8_t { kKv, kRoundRobin, kRandom, kPowerOfTwo, kLeastLoaded, kDirect };
std::string_view mode_name(Mode mode);  // "kv", "round-robin", "random", "power-of-two", "least-loaded", "direct"

// Live-tunable.
struct RouterSettings {
  double overlap_weight = 4.0;  // worth of a block to prefill against a block that decodes.  [0, 100]
  double temperature = 0.0;     // 0: the lowest cost wins; higher spreads.  [0, 100]
  // A prompt of which at most so many tokens are not cached where it is decoded is computed there; 0: none is, as long
  // as there are prefill workers. Absent: judged by what waits at either and measured rates ("auto").
  // --max-local-prefill-length
  std::optional<uint32_t> max_local_prefill_length = 0;
  std::optional<double> busy_threshold;  // share of a worker's blocks in use above which it gets nothing new.  (0, 1]
};

struct RouterOptions {
  Mode mode = Mode::kRoundRobin;
  RouterSettings settings;
  uint32_t block_tokens = kv::kDefaultBlockTokens;  // of the model's workers
  bool uses_events = true;                          // false: what a worker holds is guessed from what was sent there
  std::chrono::seconds guess_lifetime{120};
  uint32_t migration_limit = 3;  // how often one request may go on to another worker
  uint32_t max_queue = 1024;     // requests that wait while all workers are busy
  std::chrono::milliseconds queue_timeout{30000};
  std::chrono::milliseconds silence_limit{120000};  // a worker from which nothing comes so long is given up
  uint64_t index_bytes = 1ULL << 30;                // memory of the index at most
  uint32_t remembered_decisions = 1000;             // for /router/explain
  uint64_t seed = 0;                                // of everything that is drawn; 0: from the system
  // Decides in the place of the mode's policy; null: it does not. Not with kDirect.  --router-policy-library
  std::shared_ptr<const PolicyLibrary> library;
};
// How logs and /router/explain name the way workers are chosen: the mode's name, or "library".
std::string_view mode_name(const RouterOptions& options);

}  // namespace dynamo::router
