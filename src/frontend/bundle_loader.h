// Loads models: fetches the bundle from one worker after another until one brings it whole, and opens it.
// Threads: load() from any; fetching on I/O threads, opening on one thread of its own.  Private to the module.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include <boost/asio/thread_pool.hpp>

#include "base/clock.h"
#include "base/task_scope.h"
#include "frontend/model_catalog.h"

namespace dynamo::frontend {

// Errors: kCorrupt (the digest is not of these bytes, or they cannot be read), and what Tokenizer and ChatTemplate
// refuse. Cost: hundreds of milliseconds for a large vocabulary.
Result<LoadedModel> open_bundle(std::string_view bytes, std::string_view digest);

class BundleLoader {
 public:
  // All outlive the loader, which outlives the tasks of `scope`.
  BundleLoader(ModelCatalog* catalog, TaskScope* scope, const Clock* clock = &Clock::steady())
      : catalog_(catalog), scope_(scope), clock_(clock), opener_(1) {}

  // Returns at once; the catalog is told when the model is loaded. It is tried until then, or until the model is gone.
  void load(ModelId model);

 private:
  static Task<void> run(BundleLoader* self, ModelId model);

  ModelCatalog* catalog_;
  TaskScope* scope_;
  const Clock* clock_;
  boost::asio::thread_pool opener_;
};

}  // namespace dynamo::frontend
