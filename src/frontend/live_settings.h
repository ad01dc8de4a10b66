// Live settings of models' routers, as the keys /dynamo/config/<model slug> hold them (docs/reference/routing.md).
// Threads: any.  Private to the module.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "base/mutex.h"
#include "base/status.h"
#include "discovery/registry.h"
#include "router/settings.h"

namespace dynamo::frontend {

// {"overlap_score_weight": 1.0, "router_temperature": 0.0, "busy_threshold": 0.9 or null, "max_local_prefill_length": 0
// or "auto"}, each optional; `base` holds what is not said. Errors: kInvalid (not an object, an unknown member, a value
// out of range, by name).
Result<router::RouterSettings> settings_from_json(std::string_view text, router::RouterSettings base);

class LiveSettings {
 public:
  // `base` holds for models that have no key, or one that cannot be read.
  explicit LiveSettings(router::RouterSettings base) : base_(base) {}

  // Returns: the slug whose models have other settings now; none: the key is of another kind.
  std::optional<std::string> apply(const discovery::KeyChange& change);
  router::RouterSettings of(std::string_view model) const;

 private:
  const router::RouterSettings base_;
  mutable Mutex mutex_;
  std::map<std::string, router::RouterSettings, std::less<>> by_slug_ GUARDED_BY(mutex_);
};

}  // namespace dynamo::frontend
