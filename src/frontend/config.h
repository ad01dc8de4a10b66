// Live settings of a model's router, as /dynamo/config/<model slug> holds them (docs/reference/routing.md).
// Threads: pure functions.
#pragma once

#include <string_view>

#include "base/status.h"
#include "router/settings.h"

namespace dynamo::frontend {

// {"overlap_score_weight": 1.0, "router_temperature": 0.0, "busy_threshold": 0.9 or null, "max_local_prefill_length": 0 or "auto"}, each optional; `base` holds what is not
// said. Errors: kInvalid (not an object, an unknown member, a value out of range, by name).
Result<router::RouterSettings> settings_from_json(std::string_view text, router::RouterSettings base);

}  // namespace dynamo::frontend
