// Makes models out of announced workers: connects to each, fetches what is needed to speak for the model, routes.
//
// A frontend has no model files. The first worker of a name brings card, tokenizer and template (model_bundle); workers of the same
// name that differ in these or in block size are refused, with both values. A model is served from when its first worker is connected
// until its last is gone. Order for each worker: announced, connected, its blocks known, routable. A worker goes when it says that it
// leaves, or when its key is gone and it is not connected: a store that loses keys takes nobody's workers away.
// Threads: everything from any thread; work happens on the registry's and the bus's threads, the I/O threads, and one that loads.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include <boost/json/array.hpp>

#include "base/clock.h"
#include "base/io_threads.h"
#include "base/metrics.h"
#include "discovery/registry.h"
#include "events/event_bus.h"
#include "openai/served_model.h"
#include "router/settings.h"

namespace dynamo::frontend {

struct FrontendOptions {
  std::string name_space = "dynamo";
  std::string version;
  router::RouterOptions router;  // for every model; block_tokens is the workers'
  bool syncs_replicas = false;   // tells other frontends what is in flight, and counts what they tell
  // From the first view on; then is_ready() waits for nobody any more. A worker that is announced and never loads keeps no frontend out.
  Duration warm_limit = std::chrono::seconds(30);
};

class Frontend : public openai::ModelDirectory {
 public:
  // Begins to watch. Registry, bus, I/O threads and metrics outlive the frontend. Errors: kDeadline (the bus).
  static Result<std::unique_ptr<Frontend>> start(FrontendOptions options, discovery::Registry* registry,
                                                 events::EventBus* bus, IoThreads* io, Metrics* metrics, Time until);
  ~Frontend() override = default;  // Requires: stop() has returned.

  // Leaves the workers; requests that run break off. To be called when the HTTP server has stopped.
  virtual void stop() = 0;

  // The first view of the registry has come, and every worker in it that can be reached is routable.
  bool is_warm() const override = 0;
  // A model is served, and the frontend is warm or had the time to become so.
  virtual bool is_ready() const = 0;
  // Every announced worker with its state, those that are refused and why among them.
  virtual boost::json::array instances() const = 0;
  // Decisions of all models, newest first; of one request if `request_id` is not empty. They can be many, and are made into JSON on the
  // thread of the caller: not one that serves.
  virtual boost::json::array explain(size_t last, const std::string& request_id) const = 0;
  // Empties the cache of every worker. Returns: per worker, its name and what came of it.
  virtual Task<boost::json::array> clear_blocks(Time until) = 0;
};

}  // namespace dynamo::frontend
