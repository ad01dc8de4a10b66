#include "router/decision_log.h"

#include <algorithm>
#include <limits>

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <boost/json/array.hpp>

#include "base/log.h"

namespace dynamo::router {
namespace {

namespace json = boost::json;

constexpr size_t kRememberedCandidates = 64;  // of a decision

json::object to_json(const Decision::Considered& one) {
  json::object out{{"worker", one.worker},
                   {"overlap_blocks", one.as.overlap_blocks()},
                   {"prefill_blocks", one.as.prefill_blocks},
                   {"decode_blocks", one.as.decode_blocks},
                   {"sequences", one.as.sequences},
                   {"rounds", one.as.rounds},
                   {"cost", one.as.cost},
                   {"active_requests", one.as.active_requests}};
  for (const kv::Tier tier : kv::kLowerTiers)
    if (one.as.overlap[tier] > 0) out[fmt::format("overlap_{}_blocks", name_of(tier))] = one.as.overlap[tier];
  return out;
}

void log_choice(const Decision& decision, bool is_by_cost) {
  if (!is_by_cost) {
    LOG(debug, "Selected " + decision.chosen, {"request_id", decision.request_id});
    return;
  }
  std::string scores;
  for (const auto& [worker, as] : decision.considered) {
    scores += fmt::format("{}{}: {} blocks", scores.empty() ? "" : ", ", worker, as.overlap_blocks());
    for (const kv::Tier tier : kv::kLowerTiers)
      if (as.overlap[tier] > 0) scores += fmt::format(" and {} on its {}", as.overlap[tier], name_of(tier));
  }
  LOG(debug, fmt::format("KV overlap scores: {{{}}}", scores), {"request_id", decision.request_id});
  LOG(debug,
      fmt::format("Selected {} ({}: {} blocks)", decision.chosen,
                  decision.has_best_overlap ? "best overlap" : "lowest cost, overlap", decision.overlap_blocks),
      {"request_id", decision.request_id});
}

}  // namespace

std::vector<Decision::Considered> most_likely(const std::vector<Candidate>& candidates) {
  const size_t count = std::min(candidates.size(), kRememberedCandidates);
  double highest = std::numeric_limits<double>::infinity();  // of the costs that are remembered
  size_t as_high = count;                                    // room for those that cost as much
  if (candidates.size() > count) {
    std::vector<double> costs;
    costs.reserve(candidates.size());
    for (const Candidate& one : candidates) costs.push_back(one.cost);
    const auto last = costs.begin() + static_cast<ptrdiff_t>(count - 1);
    std::ranges::nth_element(costs, last);
    highest = *last;
    as_high = 1 + static_cast<size_t>(std::count(costs.begin(), last, highest));
  }
  std::vector<Decision::Considered> considered;
  considered.reserve(count);
  for (const Candidate& one : candidates) {
    if (one.cost > highest || (one.cost == highest && as_high == 0)) continue;
    if (one.cost == highest) --as_high;
    considered.push_back({std::string(one.name), one});
    considered.back().as.name = {};
  }
  return considered;
}

json::object to_json(const Decision& decision) {
  json::array considered;
  for (const Decision::Considered& one : decision.considered) considered.push_back(to_json(one));
  json::array left_out;
  for (const LeftOut& one : decision.left_out) left_out.push_back(json::string(one.text()));
  json::object out{{"request_id", decision.request_id},
                   {"at", fmt::format("{:%Y-%m-%dT%H:%M:%SZ}",
                                      fmt::gmtime(std::chrono::time_point_cast<std::chrono::seconds>(decision.at)))},
                   {"mode", decision.mode},
                   {"overlap_weight", decision.overlap_weight},
                   {"temperature", decision.temperature},
                   {"prompt_tokens", decision.prompt_tokens},
                   {"prompt_blocks", decision.prompt_blocks},
                   {"attempt", decision.attempt},
                   {"candidates_total", decision.candidates},
                   {"candidates", std::move(considered)},
                   {"left_out", std::move(left_out)},
                   {"reason", decision.reason}};
  if (decision.pool) out["pool"] = *decision.pool == Pool::kPrefill ? "prefill" : "decode";
  if (!decision.prefill.empty()) out["prefill"] = decision.prefill;
  if (decision.chosen.empty()) {
    out["chosen"] = nullptr;
  } else {
    out["chosen"] = decision.chosen;
  }
  return out;
}

void log_decisions(const Decision* prefill, const Decision& decode, bool is_by_cost) {
  if (!log::is_enabled(log::Level::debug, log::module_of(__FILE__))) return;
  if (prefill != nullptr) log_choice(*prefill, is_by_cost);
  log_choice(decode, is_by_cost);
  if (!is_by_cost) return;
  const uint64_t cached = std::max(decode.cached_tokens, prefill != nullptr ? prefill->cached_tokens : 0);
  LOG(debug, fmt::format("Cache hit rate: {}% for this request", cached * 100 / decode.prompt_tokens),
      {"request_id", decode.request_id});
}

DecisionRecord DecisionLog::add(Decision decision) {
  auto record = std::make_shared<const Decision>(std::move(decision));
  if (most_ == 0) return record;
  if (decisions_.size() >= most_) decisions_.pop_front();
  decisions_.push_back(record);
  return record;
}

Decisions DecisionLog::latest(size_t last, std::string_view request_id) const {
  Decisions out;
  for (auto one = decisions_.rbegin(); one != decisions_.rend() && out.size() < last; ++one)
    if (request_id.empty() || (*one)->request_id == request_id) out.push_back(*one);
  return out;
}

}  // namespace dynamo::router
