// Makes models out of announced workers: connects to each, fetches what is needed to speak for the model, routes.
//
// A frontend has no model files. Membership says which announced workers it takes; the catalog makes models of them;
// the first worker of a model brings card, tokenizer and template (bundle_loader). Order for each worker: announced,
// connected, its blocks known, routable. This class carries what registry, bus and connections say to those parts.
// Threads: everything from any thread; work happens on the registry's and the bus's threads, the I/O threads, and one
// that loads.
// Lock order: this one's, the catalog's, a router's.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include <boost/json/array.hpp>

#include "base/clock.h"
#include "base/io_threads.h"
#include "base/metrics.h"
#include "base/mutex.h"
#include "base/task_scope.h"
#include "discovery/registry.h"
#include "events/event_bus.h"
#include "frontend/bundle_loader.h"
#include "frontend/live_settings.h"
#include "frontend/membership.h"
#include "frontend/model_catalog.h"
#include "frontend/operations.h"
#include "openai/served_model.h"
#include "router/settings.h"

namespace dynamo::frontend {

struct FrontendOptions {
  std::string name_space = "dynamo";
  std::string version;
  router::RouterOptions router;  // for every model; block_tokens is the workers'
  bool syncs_replicas = false;   // tells other frontends what is in flight, and counts what they tell
  // From the first view on; then is_ready() waits for nobody any more. A worker that is announced and never loads keeps
  // no frontend out.
  Duration warm_limit = std::chrono::seconds(30);
};

class Frontend final : public openai::ModelDirectory, public Operations {
 public:
  // Begins to watch. Registry, bus, I/O threads and metrics outlive the frontend. Errors: kDeadline (the bus).
  static Result<std::unique_ptr<Frontend>> start(FrontendOptions options, discovery::Registry* registry,
                                                 events::EventBus* bus, IoThreads* io, Metrics* metrics, Time until);
  ~Frontend() override;  // Requires: stop() has returned.

  // Leaves the workers; requests that run break off. To be called when the HTTP server has stopped.
  void stop();

  std::shared_ptr<const openai::ServedModel> find(std::string_view name) const override { return catalog_.find(name); }
  std::vector<std::shared_ptr<const openai::ServedModel>> list() const override { return catalog_.list(); }
  // The first view of the registry has come, and every worker in it that can be reached is routable.
  bool is_warm() const override;
  // A model is served, and the frontend is warm or had the time to become so.
  bool is_ready() const;
  // Every announced worker with its state, those that are refused and why among them.
  boost::json::array instances() const;

  boost::json::array explain(size_t last, const std::string& request_id) const override;
  Task<boost::json::array> clear_blocks(Time until) override;

 private:
  Frontend(FrontendOptions options, discovery::Registry* registry, events::EventBus* bus, IoThreads* io,
           Metrics* metrics);
  router::RouterHooks hooks();
  void subscribe();
  void watch();
  void carry_out(const Membership::Steps& steps) REQUIRES(mutex_);
  void take(const discovery::WorkerInstance& worker);
  static Task<void> look_at(Frontend* self, uint64_t instance);

  const FrontendOptions options_;
  discovery::Registry* registry_;
  events::EventBus* bus_;
  IoThreads* io_;
  const std::shared_ptr<TaskScope> scope_ = std::make_shared<TaskScope>(io_);  // of everything that may come late
  LiveSettings settings_{options_.router.settings};
  ModelCatalog catalog_;
  BundleLoader loader_{&catalog_, scope_.get()};
  mutable Mutex mutex_;
  Membership membership_ GUARDED_BY(mutex_){options_.name_space};
  std::vector<std::unique_ptr<events::Subscription>> subscriptions_;
  std::vector<std::unique_ptr<discovery::Watch>> watches_;
};

}  // namespace dynamo::frontend
