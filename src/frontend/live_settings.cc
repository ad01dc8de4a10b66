#include "frontend/live_settings.h"

#include <fmt/format.h>

#include "json/object_reader.h"
#include "json/parse.h"

#include "base/log.h"
#include "discovery/keys.h"

namespace dynamo::frontend {
namespace {

constexpr const char* kUnknown =
    "it is no setting; there are overlap_score_weight, router_temperature, busy_threshold and max_local_prefill_length";

std::string in_words(const json::Problem& problem) {
  const bool shows_value = problem.kind == json::Problem::Kind::kWrongType && !problem.got.empty();
  return json::to_text(problem) + (shows_value ? fmt::format(", but got {}", problem.got) : "");
}

}  // namespace

Result<router::RouterSettings> settings_from_json(std::string_view text, router::RouterSettings base) {
  const auto document = json::parse_object(text);
  if (!document.is_ok()) return invalid("expected a JSON object: " + document.status().text());
  const json::object& object = document->get_object();
  json::FirstProblem problem;
  json::ObjectReader members(object, "", &problem);
  base.overlap_weight = members.number("overlap_score_weight", 0, 100).value_or(base.overlap_weight);
  base.temperature = members.number("router_temperature", 0, 100).value_or(base.temperature);
  const json::value* length = members.value("max_local_prefill_length");
  if (length && *length == "auto") {
    base.max_local_prefill_length.reset();
  } else if (const auto tokens = members.number("max_local_prefill_length", 0, 1e9)) {
    base.max_local_prefill_length = static_cast<uint32_t>(*tokens);
  }
  if (const json::value* busy = object.if_contains("busy_threshold"); busy && busy->is_null()) {
    base.busy_threshold.reset();
  } else if (const auto share = members.number("busy_threshold", 0.01, 1)) {
    base.busy_threshold = share;
  }
  members.refuse_unknown(kUnknown);
  if (problem.has_value()) return invalid(in_words(*problem));
  return base;
}

std::optional<std::string> LiveSettings::apply(const discovery::KeyChange& change) {
  std::optional<std::string> slug = discovery::slug_of_config_key(change.key);
  if (!slug) return std::nullopt;
  std::optional<router::RouterSettings> settings;
  if (change.value) {
    if (const auto read = settings_from_json(*change.value, base_); read.is_ok()) {
      settings = *read;
    } else {
      LOG(warn, "settings are ignored", {"key", change.key}, {"why", read.status().to_string()});
    }
  }
  MutexLock lock(mutex_);
  if (settings) {
    by_slug_.insert_or_assign(*slug, *settings);
  } else {
    by_slug_.erase(*slug);
  }
  return slug;
}

router::RouterSettings LiveSettings::of(std::string_view model) const {
  MutexLock lock(mutex_);
  const auto found = by_slug_.find(discovery::slug_of(model));
  return found == by_slug_.end() ? base_ : found->second;
}

}  // namespace dynamo::frontend
