#include "frontend/frontend.h"

#include <algorithm>
#include <functional>

#include <boost/json/object.hpp>

#include "base/check.h"
#include "base/log.h"
#include "discovery/keys.h"
#include "events/subjects.h"
#include "frontend/instances_view.h"
#include "frontend/snapshot_fetcher.h"
#include "frontend/worker_connection.h"

namespace dynamo::frontend {
namespace {

namespace json = boost::json;
using Changes = std::span<const discovery::KeyChange>;

void tell(const Membership::Step& step) {
  using What = Membership::What;
  switch (step.what) {
    case What::kTake:
      LOG(info, "worker found", {"worker", step.worker.name}, {"model", step.worker.model},
          {"address", step.worker.address});
      break;
    case What::kLeave:
      LOG(info, "worker gone", {"worker", step.worker.name}, {"model", step.worker.model});
      break;
    case What::kRefuse:
      LOG(warn, "a worker is left out", {"key", step.key}, {"why", step.why});
      break;
    case What::kKeyGone:
      LOG(warn, "a worker's key is gone; it stays while it is connected", {"worker", step.worker.name});
      break;
    case What::kKeyBack:
      LOG(info, "a worker's key is back", {"worker", step.worker.name});
      break;
  }
}

}  // namespace

Result<std::unique_ptr<Frontend>> Frontend::start(FrontendOptions options, discovery::Registry* registry,
                                                  events::EventBus* bus, IoThreads* io, Metrics* metrics, Time until) {
  auto frontend = std::unique_ptr<Frontend>(new Frontend(std::move(options), registry, bus, io, metrics));
  frontend->subscribe();
  // Events are missed by nobody whose snapshot is taken after this.
  const Status status = bus->flush(until).with("subscribing to the workers' events");
  if (status.is_ok()) {
    frontend->watch();
    return frontend;
  }
  frontend->stop();
  return status;
}

Frontend::Frontend(FrontendOptions options, discovery::Registry* registry, events::EventBus* bus, IoThreads* io,
                   Metrics* metrics)
    : options_(std::move(options)),
      registry_(registry),
      bus_(bus),
      io_(io),
      catalog_({.router = options_.router, .hooks = hooks(), .settings = &settings_, .metrics = metrics}) {}

Frontend::~Frontend() {
  CHECK(watches_.empty() && subscriptions_.empty());
}

void Frontend::stop() {
  watches_.clear();
  subscriptions_.clear();
  scope_->stop();
  catalog_.clear();
}

router::RouterHooks Frontend::hooks() {
  router::RouterHooks hooks;
  hooks.fetch_snapshot = fetch_snapshots(&catalog_, scope_);
  if (options_.syncs_replicas) {
    hooks.tell_routers = [bus = bus_, subject = events::routers_subject(options_.name_space)](
                             const std::string& notice) { bus->publish(subject, notice); };
  }
  return hooks;
}

void Frontend::subscribe() {
  const std::string& name_space = options_.name_space;
  const auto add = [this](std::string pattern, events::OnMessage on_message) {
    subscriptions_.push_back(bus_->subscribe(std::move(pattern), std::move(on_message)));
  };
  const auto router_of = [this](std::string_view subject) {
    return catalog_.router_of(events::publisher_of(subject).value_or(0));
  };
  add(events::kv_subjects(name_space), [router_of](std::string_view subject, std::string_view data) {
    if (const auto router = router_of(subject)) router->on_events(*events::publisher_of(subject), data);
  });
  add(events::load_subjects(name_space), [router_of](std::string_view subject, std::string_view data) {
    if (const auto router = router_of(subject)) router->on_heartbeat(*events::publisher_of(subject), data);
  });
  if (!options_.syncs_replicas) return;
  add(events::routers_subject(name_space), [this](std::string_view, std::string_view data) {
    for (const auto& router : catalog_.routers()) router->on_router_notice(data);
  });
}

void Frontend::watch() {
  watches_.push_back(registry_->watch(discovery::workers_prefix(options_.name_space), [this](Changes changes) {
    const auto is_connected = [this](uint64_t instance) {
      const auto remote = catalog_.remote_of(instance);
      return remote && remote->is_connected();
    };
    MutexLock lock(mutex_);
    carry_out(membership_.on_keys(changes, Clock::steady().now(), is_connected));
  }));
  watches_.push_back(registry_->watch(discovery::config_prefix(), [this](Changes changes) {
    for (const discovery::KeyChange& change : changes)
      if (const auto slug = settings_.apply(change)) catalog_.update_settings(*slug);
  }));
}

void Frontend::carry_out(const Membership::Steps& steps) {
  for (const Membership::Step& step : steps) {
    tell(step);
    if (step.what == Membership::What::kTake) take(step.worker);
    if (step.what == Membership::What::kLeave) catalog_.remove(step.worker.instance);
  }
}

void Frontend::take(const discovery::WorkerInstance& worker) {
  // The connection may outlive the frontend, the scope's tasks do not.
  auto on_lost = [this, scope = scope_, instance = worker.instance] {
    scope->spawn([this, instance] { return look_at(this, instance); });
  };
  rpc::Identity self{options_.name_space, options_.version, 0};
  auto remote = connect_to(worker, std::move(self), io_, std::move(on_lost));
  if (const auto model = catalog_.add(worker, std::move(remote))) loader_.load(*model);
}

// Whether the worker is still connected, whatever was said of it.
Task<void> Frontend::look_at(Frontend* self, uint64_t instance) {
  MutexLock lock(self->mutex_);
  const auto remote = self->catalog_.remote_of(instance);
  if (remote && !remote->is_connected()) self->carry_out(self->membership_.on_lost(instance));
  co_return;
}

bool Frontend::is_warm() const {
  {
    MutexLock lock(mutex_);
    if (!membership_.first_view()) return false;
  }
  return catalog_.is_warm();
}

bool Frontend::is_ready() const {
  {
    MutexLock lock(mutex_);
    const auto first_view = membership_.first_view();
    if (!first_view || catalog_.list().empty()) return false;
    if (Clock::steady().now() >= *first_view + options_.warm_limit) return true;
  }
  return is_warm();
}

json::array Frontend::instances() const {
  const auto views = catalog_.views();
  MutexLock lock(mutex_);
  return instances_view(membership_.members(), views);
}

json::array Frontend::explain(size_t last, const std::string& request_id) const {
  router::Decisions decisions;
  for (const auto& router : catalog_.routers())
    for (auto& decision : router->decisions(last, request_id)) decisions.push_back(std::move(decision));
  std::ranges::stable_sort(decisions, std::greater(), [](const auto& decision) { return decision->at; });
  if (decisions.size() > last) decisions.resize(last);
  json::array all;
  all.reserve(decisions.size());
  for (const auto& decision : decisions) all.push_back(router::to_json(*decision));
  return all;
}

Task<json::array> Frontend::clear_blocks(Time until) {
  json::array all;
  const std::vector<ModelCatalog::NamedRemote> workers = catalog_.remotes();
  for (const ModelCatalog::NamedRemote& worker : workers) {
    const Status status = co_await worker.remote->clear_blocks(until);
    all.push_back(json::object{{"worker", worker.name}, {"status", status.is_ok() ? "cleared" : status.to_string()}});
  }
  co_return all;
}

}  // namespace dynamo::frontend
