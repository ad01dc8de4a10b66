// A catalog for tests: small routers, and what becomes of the snapshots that they ask for.
#pragma once

#include <functional>
#include <utility>

#include "frontend/model_catalog.h"

namespace dynamo::frontend {

inline ModelCatalog::Options test_catalog(const LiveSettings* settings, Metrics* metrics,
                                          std::function<void(uint64_t)> fetch_snapshot) {
  ModelCatalog::Options options;
  options.router.index_bytes = 1U << 20;
  options.hooks.fetch_snapshot = std::move(fetch_snapshot);
  options.settings = settings;
  options.metrics = metrics;
  return options;
}

}  // namespace dynamo::frontend
