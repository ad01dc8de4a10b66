#include "router/chooser.h"

#include <fmt/format.h>

#include "base/log.h"
#include "router/prefill_placement.h"

namespace dynamo::router {
namespace {

PromptSite site_of(const Worker& worker, const Situation& situation) {
  const WorkerLoad& load = situation.workers.load_of(worker);
  return {.worker = worker.routed.name,
          .uncached_tokens = situation.overlap.uncached_tokens(worker.slot),
          .waiting_tokens = worker.report.waiting_tokens(load, situation.now),
          .prefill_rate = worker.report.prefill_rate(),
          .transfer_rate = worker.report.transfer_rate(),
          .prompt_at = worker.prompt_at};
}

PrefillPlacement placement_of(const Chosen& decode, const std::optional<Chosen>& prefill, const Situation& situation) {
  const PromptSite here = site_of(*decode.worker, situation);
  const PromptSite there = prefill ? site_of(*prefill->worker, situation) : PromptSite();
  return place_prefill(decode.worker->routed.serves == Serves::kBoth, here, prefill ? &there : nullptr,
                       situation.settings.max_local_prefill_length, situation.now);
}

PrefillPlace place_of(const Candidate& candidate, const WorkerTable& workers) {
  return {candidate.instance, std::string(candidate.name), workers.find(candidate.instance)->routed.address};
}

Chosen chosen_of(const Candidate& candidate, const Situation& situation, Decision record) {
  Chosen chosen;
  chosen.worker = situation.workers.find(candidate.instance);
  chosen.new_tokens = situation.overlap.new_tokens(chosen.worker->slot);
  record.chosen = candidate.name;
  record.overlap_blocks = candidate.overlap_blocks();
  record.cached_tokens = situation.overlap.tokens - situation.overlap.uncached_tokens(chosen.worker->slot);
  chosen.decision = std::move(record);
  return chosen;
}

// Nobody was chosen to answer. Returns: why the request fails; success: it must wait.
Status why_nobody(const Situation& situation, const Candidates& candidates, const RouterOptions& options) {
  const GenerateRequest& request = *situation.asked.request;
  if (request.routing.instance)
    return not_found(fmt::format("worker {:016x} is not there or takes no requests", *request.routing.instance));
  if (options.library && !candidates.all.empty()) return {};  // the library says: not now
  if (options.mode == Mode::kDirect)
    return invalid("the router is in mode direct: the request must name a worker (nvext.backend_instance_id)");
  if (candidates.is_any_busy()) return {};
  if (situation.workers.size() == 0) return unavailable("no worker serves this model now");
  if (situation.workers.answering() == 0)
    return unavailable("only prefill workers serve this model now; a decode worker is needed");
  std::string why = "no worker can take the request now: ";
  for (const LeftOut& worker : candidates.left_out)
    why += (&worker == candidates.left_out.data() ? "" : ", ") + worker.text();
  return unavailable(std::move(why));
}

}  // namespace

Chooser::Chooser(const RouterOptions* options, std::unique_ptr<Policy> answering, std::unique_ptr<Policy> prefilling)
    : options_(options), answering_(std::move(answering)), prefilling_(std::move(prefilling)) {}

Selection Chooser::choose(const Situation& situation) {
  const RoutingHints& hints = situation.asked.request->routing;
  Weighing weighing{.overlap_weight = hints.overlap_weight.value_or(situation.settings.overlap_weight),
                    .busy_threshold = situation.settings.busy_threshold,
                    .now = situation.now};
  Selection made;
  const bool has_pools = situation.workers.prefill_workers() > 0;
  if (has_pools) choose_prefill(situation, &weighing, &made);
  weighing.pool = Pool::kDecode;
  weighing.passed_over = situation.asked.passed_over;
  const Candidates candidates = candidates_for(situation.workers, situation.overlap, weighing);
  Decision record = record_of(situation, weighing, candidates);
  const Candidate* const picked = pick(situation, Pool::kDecode, candidates, &record);
  if (picked == nullptr) {
    made.failure = why_nobody(situation, candidates, *options_);
    made.must_wait = made.failure.is_ok();
    record.reason = made.failure.text();
    made.refused = std::move(record);
    return made;
  }
  made.decode = chosen_of(*picked, situation, std::move(record));
  if (has_pools) {
    PrefillPlacement placement = placement_of(*made.decode, made.prefill, situation);
    if (placement.is_here()) {
      made.prefill.reset();
      made.prefill_at.clear();
    }
    made.decode->decision.prefill = std::move(placement.text);
  }
  return made;
}

void Chooser::choose_prefill(const Situation& situation, Weighing* weighing, Selection* made) {
  weighing->pool = Pool::kPrefill;
  const Candidates candidates = candidates_for(situation.workers, situation.overlap, *weighing);
  Decision record = record_of(situation, *weighing, candidates);
  const Candidate* const picked = pick(situation, Pool::kPrefill, candidates, &record);
  if (picked == nullptr) return;
  weighing->prefill_tokens = picked->prefill_blocks * situation.overlap.block_tokens;
  made->prefill_at.push_back(place_of(*picked, situation.workers));
  if (const Candidate* next = candidates.next_best(*picked))
    made->prefill_at.push_back(place_of(*next, situation.workers));
  made->prefill = chosen_of(*picked, situation, std::move(record));
}

// Returns: one of the candidates; null: none of them.
const Candidate* Chooser::pick(const Situation& situation, Pool pool, const Candidates& candidates, Decision* record) {
  if (candidates.all.empty()) return nullptr;
  const GenerateRequest& request = *situation.asked.request;
  Policy& policy = pool == Pool::kPrefill ? *prefilling_ : request.routing.instance ? *direct_ : *answering_;
  const auto choice = policy.choose(request, candidates.all, record->temperature);
  if (!choice) return nullptr;
  const Candidate& picked = candidates.all[choice->index];
  record->reason = choice->reason;
  record->has_best_overlap = candidates.has_best_overlap(picked);
  return &picked;
}

Decision Chooser::record_of(const Situation& situation, const Weighing& weighing, const Candidates& candidates) const {
  const GenerateRequest& request = *situation.asked.request;
  Decision record;
  record.request_id = request.id;
  if (situation.workers.prefill_workers() > 0) record.pool = weighing.pool;
  record.at = std::chrono::system_clock::now();
  record.mode = mode_name(*options_);
  record.overlap_weight = weighing.overlap_weight;
  record.temperature = request.routing.temperature.value_or(situation.settings.temperature);
  record.prompt_tokens = static_cast<uint32_t>(situation.overlap.tokens);
  record.prompt_blocks = static_cast<uint32_t>(situation.overlap.blocks);
  record.attempt = situation.asked.attempt;
  record.candidates = candidates.all.size();
  record.left_out = candidates.left_out;
  if (options_->remembered_decisions > 0 || log::is_enabled(log::Level::debug, log::module_of(__FILE__)))
    record.considered = most_likely(candidates.all);
  return record;
}

}  // namespace dynamo::router
