#include "frontend/model_catalog.h"

#include <algorithm>
#include <ctime>
#include <utility>

#include "base/check.h"
#include "base/log.h"
#include "discovery/keys.h"

namespace dynamo::frontend {
namespace {

router::Serves serves_of(discovery::Role role) {
  switch (role) {
    case discovery::Role::kAggregated:
      return router::Serves::kBoth;
    case discovery::Role::kPrefill:
      return router::Serves::kPrefill;
    case discovery::Role::kDecode:
      return router::Serves::kDecode;
  }
  return router::Serves::kBoth;
}

}  // namespace

std::optional<ModelId> ModelCatalog::add(discovery::WorkerInstance worker, std::shared_ptr<rpc::WorkerClient> remote) {
  MutexLock lock(mutex_);
  std::shared_ptr<Model>& model = models_[worker.model];
  const bool is_first = !model;
  if (is_first) model = make_model(worker);
  const uint64_t instance = worker.instance;
  const auto [place, is_new] = workers_.try_emplace(instance, Worker{std::move(worker), std::move(remote), model});
  CHECK(is_new);
  if (model->loaded) {
    route(&place->second);
    update_served(model.get());
  }
  return is_first ? std::optional(model->id) : std::nullopt;
}

std::shared_ptr<ModelCatalog::Model> ModelCatalog::make_model(const discovery::WorkerInstance& worker) {
  auto model = std::make_shared<Model>();
  model->id = {++last_model_};
  model->name = worker.model;
  model->digest = worker.model_digest;
  router::RouterOptions options = options_.router;
  options.block_tokens = worker.block_tokens;
  options.settings = options_.settings->of(worker.model);
  model->router = router::Router::create(std::move(options), options_.hooks, options_.metrics, worker.model);
  return model;
}

void ModelCatalog::remove(uint64_t instance) {
  MutexLock lock(mutex_);
  const auto found = workers_.find(instance);
  CHECK(found != workers_.end());
  const Worker worker = std::move(found->second);
  workers_.erase(found);
  worker.model->router->remove_worker(instance);
  worker.remote->retire();
  if (std::ranges::any_of(workers_, [&](const auto& one) { return one.second.model == worker.model; }))
    return update_served(worker.model.get());
  if (worker.model->served) LOG(info, "model gone: its last worker left", {"model", worker.model->name});
  models_.erase(worker.model->name);
}

void ModelCatalog::clear() {
  MutexLock lock(mutex_);
  for (auto& [instance, worker] : workers_) worker.remote->stop();
  workers_.clear();
  models_.clear();
}

std::shared_ptr<ModelCatalog::Model> ModelCatalog::find_model(ModelId id) const {
  const auto found = std::ranges::find_if(models_, [id](const auto& one) { return one.second->id == id; });
  return found == models_.end() ? nullptr : found->second;
}

std::optional<ModelCatalog::Source> ModelCatalog::source_of(ModelId id, uint64_t after) const {
  MutexLock lock(mutex_);
  const std::shared_ptr<Model> model = find_model(id);
  if (!model || model->loaded) return std::nullopt;
  auto next = workers_.upper_bound(after);
  for (size_t i = 0; i < workers_.size(); ++i, ++next) {
    if (next == workers_.end()) next = workers_.begin();
    const Worker& worker = next->second;
    if (worker.model == model) return Source{next->first, worker.announced.name, model->digest, worker.remote};
  }
  return std::nullopt;
}

void ModelCatalog::set_loaded(ModelId id, LoadedModel loaded) {
  MutexLock lock(mutex_);
  const std::shared_ptr<Model> model = find_model(id);
  if (!model) return;
  model->loaded = std::move(loaded);
  model->created = std::time(nullptr);
  for (auto& [instance, worker] : workers_)
    if (worker.model == model) route(&worker);
  update_served(model.get());
  LOG(info, "model served", {"model", model->name});
}

void ModelCatalog::route(Worker* worker) {
  const discovery::WorkerInstance& announced = worker->announced;
  router::RoutedWorker routed;
  routed.instance = announced.instance;
  routed.name = announced.name;
  routed.serves = serves_of(announced.role);
  routed.address = announced.address;
  routed.generator = worker->remote;
  routed.is_reachable = [remote = worker->remote] { return remote->is_connected(); };
  routed.total_blocks = announced.total_blocks;
  routed.max_sequences = announced.max_sequences;
  routed.has_events = true;
  routed.vocab_size = worker->model->loaded->card.vocab_size;
  const Status added = worker->model->router->add_worker(std::move(routed));
  worker->is_routed = added.is_ok();
  if (!added.is_ok()) LOG(error, "a worker gets no requests", {"worker", announced.name}, {"why", added.to_string()});
}

// As its present workers allow.
void ModelCatalog::update_served(Model* model) {
  if (!model->loaded) return;
  auto served = std::make_shared<openai::ServedModel>();
  served->card = model->loaded->card;
  served->card.name = model->name;
  served->card.context_length = UINT32_MAX;
  for (const auto& [instance, worker] : workers_)
    if (worker.model.get() == model)
      served->card.context_length = std::min(served->card.context_length, worker.announced.context_length);
  served->created = model->created;
  served->tokenizer = model->loaded->tokenizer;
  served->chat_template = model->loaded->chat_template;
  served->generator = model->router;
  model->served = std::move(served);
}

void ModelCatalog::update_settings(std::string_view slug) {
  MutexLock lock(mutex_);
  for (const auto& [name, model] : models_) {
    if (discovery::slug_of(name) != slug) continue;
    model->router->set(options_.settings->of(name));
    LOG(info, "settings changed", {"model", name});
  }
}

std::shared_ptr<const openai::ServedModel> ModelCatalog::find(std::string_view name) const {
  MutexLock lock(mutex_);
  const auto found = models_.find(name);
  return found == models_.end() ? nullptr : found->second->served;
}

std::vector<std::shared_ptr<const openai::ServedModel>> ModelCatalog::list() const {
  MutexLock lock(mutex_);
  std::vector<std::shared_ptr<const openai::ServedModel>> all;
  for (const auto& [name, model] : models_)
    if (model->served) all.push_back(model->served);
  return all;
}

bool ModelCatalog::is_warm() const {
  {
    MutexLock lock(mutex_);
    if (std::ranges::any_of(models_, [](const auto& one) { return !one.second->loaded; })) return false;
  }
  return std::ranges::none_of(views(),
                              [](const auto& one) { return one.second.state == router::WorkerState::kLoadingIndex; });
}

std::shared_ptr<rpc::WorkerClient> ModelCatalog::remote_of(uint64_t instance) const {
  MutexLock lock(mutex_);
  const auto found = workers_.find(instance);
  return found == workers_.end() ? nullptr : found->second.remote;
}

std::shared_ptr<router::Router> ModelCatalog::router_of(uint64_t instance) const {
  MutexLock lock(mutex_);
  const auto found = workers_.find(instance);
  return found == workers_.end() || !found->second.is_routed ? nullptr : found->second.model->router;
}

std::vector<std::shared_ptr<router::Router>> ModelCatalog::routers() const {
  MutexLock lock(mutex_);
  std::vector<std::shared_ptr<router::Router>> all;
  for (const auto& [name, model] : models_) all.push_back(model->router);
  return all;
}

std::map<uint64_t, router::WorkerView> ModelCatalog::views() const {
  std::map<uint64_t, router::WorkerView> all;
  for (const auto& router : routers())
    for (router::WorkerView& view : router->view()) all.emplace(view.instance, std::move(view));
  return all;
}

std::vector<ModelCatalog::NamedRemote> ModelCatalog::remotes() const {
  MutexLock lock(mutex_);
  std::vector<NamedRemote> all;
  for (const auto& [instance, worker] : workers_) all.push_back({worker.announced.name, worker.remote});
  return all;
}

}  // namespace dynamo::frontend
