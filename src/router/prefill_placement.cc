#include "router/prefill_placement.h"

#include <fmt/format.h>

namespace dynamo::router {
namespace {

using Why = PrefillPlacement::Why;

constexpr Duration kMeasureAgain = std::chrono::minutes(1);  // a worker without prompts so long gets one to be measured
constexpr uint64_t kMeasuredTokens = 64;                     // a prompt that tells how fast it is computed has as many

PrefillPlacement there(Why why, const PromptSite& prefill) {
  return {why, std::string(prefill.worker)};
}

bool may_measure(const PromptSite& site, Time now) {
  return site.waiting_tokens == 0 && (!site.prompt_at || *site.prompt_at + kMeasureAgain <= now);
}

// By expected time. What a prompt costs here is its time to the first token and, once more, the time in which it holds
// up the answers that are decoded here: so between equal workers it is computed here if what waits there takes longer
// than the prompt does.
PrefillPlacement sooner(const PromptSite& decode, const PromptSite& prefill, Time now) {
  if (decode.prefill_rate == 0 && prefill.prefill_rate > 0 && decode.uncached_tokens >= kMeasuredTokens &&
      may_measure(decode, now))
    return {Why::kToMeasureHere, "here: to measure how fast it computes prompts"};
  // Rates that are not known yet are taken for equal.
  const bool are_known = decode.prefill_rate > 0 && prefill.prefill_rate > 0;
  const double here_rate = are_known ? decode.prefill_rate : 1;
  const double there_rate = are_known ? prefill.prefill_rate : 1;
  const auto tokens = static_cast<double>(decode.uncached_tokens);
  const double moving = are_known && prefill.transfer_rate > 0 ? tokens / prefill.transfer_rate : 0;
  const double local = (static_cast<double>(decode.waiting_tokens) + tokens) / here_rate;
  const double remote = static_cast<double>(prefill.waiting_tokens + prefill.uncached_tokens) / there_rate + moving;
  if (remote <= local + tokens / here_rate) return there(Why::kSoonerThere, prefill);
  // Who was slow once gets no prompts any more, and so could not show that this is over.
  if (may_measure(prefill, now)) return there(Why::kToMeasureThere, prefill);
  return {Why::kSoonerHere,
          fmt::format("here: expected to take {:.3g} of the time that {} needs", local / remote, prefill.worker)};
}

}  // namespace

PrefillPlacement place_prefill(bool is_aggregated, const PromptSite& decode, const PromptSite* prefill,
                               std::optional<uint32_t> max_local_length, Time now) {
  if (is_aggregated) return {Why::kAggregated, "here: an aggregated worker"};
  if (prefill == nullptr) return {Why::kNoPrefillWorker, "here: no prefill worker is ready"};
  if (!max_local_length) return sooner(decode, *prefill, now);
  if (decode.uncached_tokens > *max_local_length) return there(Why::kLong, *prefill);
  return {Why::kShort, fmt::format("here: {} tokens are not cached, at most {} are computed locally",
                                   decode.uncached_tokens, *max_local_length)};
}

}  // namespace dynamo::router
