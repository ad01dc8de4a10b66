#include "router/decision_log.h"

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>

namespace dynamo::router {

namespace json = boost::json;

json::object to_json(const Decision& decision) {
  json::array considered;
  for (const Decision::Considered& one : decision.considered) {
    considered.push_back(json::object{{"worker", one.worker},
                                      {"overlap_blocks", one.overlap_blocks},
                                      {"prefill_blocks", one.prefill_blocks},
                                      {"decode_blocks", one.decode_blocks},
                                      {"sequences", one.sequences},
                                      {"rounds", one.rounds},
                                      {"cost", one.cost},
                                      {"active_requests", one.active_requests}});
  }
  json::array left_out;
  for (const std::string& one : decision.left_out) left_out.push_back(json::string(one));
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
  if (!decision.pool.empty()) out["pool"] = decision.pool;
  if (!decision.prefill.empty()) out["prefill"] = decision.prefill;
  if (decision.chosen.empty()) {
    out["chosen"] = nullptr;
  } else {
    out["chosen"] = decision.chosen;
  }
  return out;
}

void DecisionLog::add(Decision decision) {
  if (most_ == 0) return;
  if (decisions_.size() >= most_) decisions_.pop_front();
  decisions_.push_back(std::make_shared<const Decision>(std::move(decision)));
}

Decisions DecisionLog::latest(size_t last, std::string_view request_id) const {
  Decisions out;
  for (auto one = decisions_.rbegin(); one != decisions_.rend() && out.size() < last; ++one)
    if (request_id.empty() || (*one)->request_id == request_id) out.push_back(*one);
  return out;
}

}  // namespace dynamo::router
