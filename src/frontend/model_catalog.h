// The models that taken workers make: for each its workers, its router, and, once loaded, what it takes to speak for
// it.
//
// A model is there from its first worker to its last, and served once it is loaded; only then do its workers get
// requests. It is loaded from what its workers bring (bundle_loader.h).
// Lock order: what a caller holds, then the catalog's, then a router's.  Private to the module.  Threads: any.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/metrics.h"
#include "base/mutex.h"
#include "discovery/instance.h"
#include "frontend/live_settings.h"
#include "openai/served_model.h"
#include "router/router.h"
#include "rpc/worker_client.h"

namespace dynamo::frontend {

// A model from its first worker to its last; when one of its name comes again, it is another.
struct ModelId {
  uint64_t value = 0;
  bool operator==(const ModelId&) const = default;
};

// What speaks for a model, made from its bundle.
struct LoadedModel {
  ModelCard card;
  std::shared_ptr<const text::Tokenizer> tokenizer;
  std::shared_ptr<const text::ChatTemplate> chat_template;  // null: it has none
};

class ModelCatalog {
 public:
  struct Options {
    router::RouterOptions router;  // of every model; block_tokens is the workers', the settings are live
    router::RouterHooks hooks;     // of every router; called with this catalog's lock held at times
    const LiveSettings* settings = nullptr;
    Metrics* metrics = nullptr;
  };
  // `settings` and `metrics` outlive the catalog and its routers.
  explicit ModelCatalog(Options options) : options_(std::move(options)) {}

  // Requires: no worker of this instance is there; workers of one model agree (membership.h).
  // Returns: the model, if this is its first worker: it is to be loaded.
  std::optional<ModelId> add(discovery::WorkerInstance worker, std::shared_ptr<rpc::WorkerClient> remote);
  // It gets nothing new; requests that it has go on, and its connection ends with the last of them. Requires: it is
  // there.
  void remove(uint64_t instance);
  // Ends all connections, with the requests on them, and forgets everything.
  void clear();

  // A worker to ask for what loads a model.
  struct Source {
    uint64_t instance = 0;
    std::string name;
    std::string digest;  // the model's
    std::shared_ptr<rpc::WorkerClient> remote;
  };
  // The model's workers in turn: the first behind the instance `after`. None: the model is gone, or loaded.
  std::optional<Source> source_of(ModelId model, uint64_t after) const;
  // Serves the model from now on. Ignored if it is gone.
  void set_loaded(ModelId model, LoadedModel loaded);
  // The models of this slug have other settings now.
  void update_settings(std::string_view slug);

  // Null: no such model is served.
  std::shared_ptr<const openai::ServedModel> find(std::string_view name) const;
  std::vector<std::shared_ptr<const openai::ServedModel>> list() const;  // by name
  // Every model is loaded, and the blocks of each worker that can be reached are known.
  bool is_warm() const;

  // Null: no such worker is there.
  std::shared_ptr<rpc::WorkerClient> remote_of(uint64_t instance) const;
  // Null: no such worker gets requests.
  std::shared_ptr<router::Router> router_of(uint64_t instance) const;
  std::vector<std::shared_ptr<router::Router>> routers() const;
  // Of the workers that get requests, by instance.
  std::map<uint64_t, router::WorkerView> views() const;
  struct NamedRemote {
    std::string name;
    std::shared_ptr<rpc::WorkerClient> remote;
  };
  std::vector<NamedRemote> remotes() const;  // of every worker

 private:
  struct Model {
    ModelId id;
    std::string name;
    std::string digest;
    std::shared_ptr<router::Router> router;
    std::optional<LoadedModel> loaded;
    int64_t created = 0;                                // Unix seconds, when it was loaded
    std::shared_ptr<const openai::ServedModel> served;  // as of the workers there are; null: not loaded
  };
  struct Worker {
    discovery::WorkerInstance announced;
    std::shared_ptr<rpc::WorkerClient> remote;
    std::shared_ptr<Model> model;
    bool is_routed = false;
  };

  std::shared_ptr<Model> make_model(const discovery::WorkerInstance& worker) REQUIRES(mutex_);
  std::shared_ptr<Model> find_model(ModelId id) const REQUIRES(mutex_);
  void route(Worker* worker) REQUIRES(mutex_);
  void update_served(Model* model) REQUIRES(mutex_);

  const Options options_;
  mutable Mutex mutex_;
  std::map<std::string, std::shared_ptr<Model>, std::less<>> models_ GUARDED_BY(mutex_);  // by name
  std::map<uint64_t, Worker> workers_ GUARDED_BY(mutex_);                                 // by instance
  uint64_t last_model_ GUARDED_BY(mutex_) = 0;
};

}  // namespace dynamo::frontend
