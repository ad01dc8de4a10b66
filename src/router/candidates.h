// Which workers may take a request, what it costs at each, and why the others are left out.
// Threads: pure functions; whoever calls them holds the table's lock.  Private to the module.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "router/policy.h"
#include "router/worker_table.h"

namespace dynamo::router {

// Workers are chosen twice where there are prefill workers.
enum class Pool : uint8_t { kPrefill, kDecode };

// How much of a block's computing is saved where it lies in a tier; the rest is what it takes to bring it to the
// device.
inline constexpr kv::PerTier<double> kSaved = {{1, 0.75, 0.25}};

// A prompt as it is weighed, and what workers have of it.
struct PromptOverlap {
  uint64_t tokens = 0;
  uint64_t blocks = 0;  // full ones
  uint32_t block_tokens = 1;
  std::vector<uint32_t> held;    // by slot: leading blocks that are cached there, on the device
  std::vector<uint32_t> in_use;  // by slot: leading blocks that requests in flight there have
  // By slot: blocks behind those on the device, tier after tier without a gap. Empty: nobody has any.
  std::vector<kv::PerTier<uint32_t>> lower = {};

  kv::PerTier<uint32_t> by_tier(WorkerSlot slot) const;
  // Of the prompt: what is not cached there, a block of a lower tier being cached in part,
  uint64_t uncached_tokens(WorkerSlot slot) const { return without(cached_blocks(slot)); }
  // and of that what no request in flight there is about to make cached.
  uint64_t new_tokens(WorkerSlot slot) const {
    return without(std::max<double>(cached_blocks(slot), in_use[slot.index]));
  }

 private:
  double cached_blocks(WorkerSlot slot) const;
  uint64_t without(double blocks) const {
    return tokens - std::min(static_cast<uint64_t>(blocks * block_tokens), tokens);
  }
};

// How workers are weighed.
struct Weighing {
  Pool pool = Pool::kDecode;
  double overlap_weight = 1;
  std::optional<double> busy_threshold;
  std::span<const uint64_t> passed_over = {};  // instances that have failed the request
  // Of kDecode: tokens to compute at the prefill worker that was chosen; none: there is none.
  std::optional<double> prefill_tokens = {};
  Time now{};
};

// Why a worker of the pool is no candidate.
enum class LeftOutBecause : uint8_t { kNotConnected, kBlocksUnknown, kFailedBefore, kBusy };

struct LeftOut {
  std::string worker;
  LeftOutBecause because;
  std::string text() const;  // "worker-2: not connected"
};

struct Candidates {
  std::vector<Candidate> all;  // by name, of workers of the table
  std::vector<LeftOut> left_out;

  bool is_any_busy() const;
  bool has_best_overlap(const Candidate& chosen) const;
  // The one with the lowest cost beside the chosen one. Returns: null if there is none.
  const Candidate* next_best(const Candidate& chosen) const;
};

// Requires: `overlap` is of the table as it is.
Candidates candidates_for(const WorkerTable& workers, const PromptOverlap& overlap, const Weighing& weighing);

}  // namespace dynamo::router
