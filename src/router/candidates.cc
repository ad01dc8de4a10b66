#include "router/candidates.h"

#include <algorithm>
#include <array>
#include <numeric>

#include "router/cost.h"

namespace dynamo::router {
namespace {

constexpr double kMovedShare = 0.25;  // what a block costs that is moved, of one that is computed

std::optional<LeftOutBecause> why_left_out(const WorkerTable& workers, const Worker& worker, const Weighing& weighing) {
  const WorkerState state = workers.state_of(worker, weighing.busy_threshold, weighing.now);
  if (state == WorkerState::kConnecting) return LeftOutBecause::kNotConnected;
  if (state == WorkerState::kLoadingIndex) return LeftOutBecause::kBlocksUnknown;
  if (std::ranges::find(weighing.passed_over, worker.routed.instance) != weighing.passed_over.end())
    return LeftOutBecause::kFailedBefore;
  if (state == WorkerState::kBusy) return LeftOutBecause::kBusy;
  return std::nullopt;
}

Standing standing_of(const Worker& worker, const WorkerLoad& load, const PromptOverlap& overlap,
                     const Weighing& weighing) {
  Standing standing{.queued_tokens = static_cast<double>(worker.report.waiting_tokens(load, weighing.now)),
                    .new_tokens = static_cast<double>(overlap.new_tokens(worker.slot)),
                    .blocks = static_cast<double>(load.blocks + overlap.blocks - overlap.in_use[worker.slot.index]),
                    .sequences = worker.report.sequences(load, weighing.now),
                    .places = worker.report.places(worker.routed.max_sequences, weighing.now),
                    .answers = weighing.pool == Pool::kDecode};
  if (weighing.prefill_tokens && worker.routed.serves == Serves::kDecode) {
    standing.new_tokens *= kMovedShare;
    standing.queued_tokens += *weighing.prefill_tokens;
  }
  return standing;
}

}  // namespace

kv::PerTier<uint32_t> PromptOverlap::by_tier(WorkerSlot slot) const {
  kv::PerTier<uint32_t> blocks = lower.empty() ? kv::PerTier<uint32_t>() : lower[slot.index];
  blocks[kv::Tier::kDevice] = held[slot.index];
  return blocks;
}

double PromptOverlap::cached_blocks(WorkerSlot slot) const {
  if (lower.empty()) return held[slot.index];
  const auto blocks = by_tier(slot);
  return std::inner_product(blocks.all.begin(), blocks.all.end(), kSaved.all.begin(), 0.0);
}

std::string LeftOut::text() const {
  constexpr std::array<const char*, 4> kReasons = {"not connected", "its blocks are not known yet",
                                                   "failed this request before", "busy"};
  return worker + ": " + kReasons.at(static_cast<size_t>(because));
}

bool Candidates::is_any_busy() const {
  return std::ranges::find(left_out, LeftOutBecause::kBusy, &LeftOut::because) != left_out.end();
}

bool Candidates::has_best_overlap(const Candidate& chosen) const {
  return std::ranges::all_of(all,
                             [&](const Candidate& one) { return one.overlap_blocks() <= chosen.overlap_blocks(); });
}

const Candidate* Candidates::next_best(const Candidate& chosen) const {
  const Candidate* next = nullptr;
  for (const Candidate& one : all)
    if (one.instance != chosen.instance && (next == nullptr || one.cost < next->cost)) next = &one;
  return next;
}

Candidates candidates_for(const WorkerTable& workers, const PromptOverlap& overlap, const Weighing& weighing) {
  Candidates found;
  found.all.reserve(workers.size());
  for (const auto& worker : workers.by_name()) {
    if ((worker->routed.serves == Serves::kPrefill) != (weighing.pool == Pool::kPrefill)) continue;
    if (const auto because = why_left_out(workers, *worker, weighing)) {
      found.left_out.push_back({worker->routed.name, *because});
      continue;
    }
    const WorkerLoad& load = workers.load_of(*worker);
    const Cost cost =
        cost_of(standing_of(*worker, load, overlap, weighing), overlap.block_tokens, weighing.overlap_weight);
    found.all.push_back({.name = worker->routed.name,
                         .instance = worker->routed.instance,
                         .active_requests = load.requests,
                         .overlap = overlap.by_tier(worker->slot),
                         .prefill_blocks = cost.prefill_blocks,
                         .decode_blocks = cost.decode_blocks,
                         .sequences = cost.sequences,
                         .rounds = cost.rounds,
                         .cost = cost.total});
  }
  return found;
}

}  // namespace dynamo::router
