#include "frontend/frontend.h"

#include <atomic>
#include <ctime>
#include <map>

#include <fmt/format.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/json/object.hpp>

#include "base/instance_id.h"
#include "base/log.h"
#include "base/mutex.h"
#include "discovery/keys.h"
#include "events/subjects.h"
#include "frontend/config.h"
#include "model_bundle/model_bundle.h"
#include "router/router.h"
#include "rpc/remote_worker.h"
#include "text/utf8.h"

namespace dynamo::frontend {
namespace {

namespace asio = boost::asio;
namespace json = boost::json;
using discovery::WorkerInstance;

constexpr Duration kFetchTimeout = std::chrono::seconds(30);
constexpr Duration kFirstFetchTimeout = std::chrono::seconds(5);  // of a model; twice as long after each failure
constexpr Duration kFetchPause = std::chrono::seconds(1);         // after a failure
constexpr Duration kLook = std::chrono::milliseconds(500);        // at workers whose key is gone
constexpr size_t kMostModels = 1024;                              // each has a router, and that its memory and metrics

struct Model;

// An announced worker.
struct Member {
  std::string announced;  // value of its key
  WorkerInstance instance;
  bool is_unlisted = false;           // its key is gone
  std::string refusal;                // why it gets no requests; it has no remote and no model then
  bool is_refused_by_others = false;  // because of other members, and no longer when they have left
  std::shared_ptr<rpc::RemoteWorker> remote;
  std::shared_ptr<Model> model;
};

struct Model {
  std::string name;
  std::string digest;
  uint32_t block_tokens = 0;
  std::shared_ptr<router::Router> router;
  bool is_fetching = false;
  Duration fetch_timeout = kFirstFetchTimeout;
  // Once fetched:
  std::shared_ptr<const text::Tokenizer> tokenizer;
  std::shared_ptr<const text::ChatTemplate> chat_template;
  ModelCard card;
  int64_t created = 0;
  std::shared_ptr<const openai::ServedModel> served;  // as of the workers there are; null: nobody to serve it
};

class WatchingFrontend;

// A key may be any bytes; JSON is UTF-8.
std::string shown(std::string_view key) {
  std::string text;
  if (text::append_utf8(key, &text) > 0) text += text::kReplacement;
  return text;
}

// Logs once when all of a worker's `channels` are connected, and when one is lost or cannot be had once for each kind of reason: one
// that refuses connections at first may later turn out to be of another version. Each channel calls a copy of its own.
std::function<void(bool, const Status&)> tell_changes(std::string worker, std::string address, int channels) {
  struct Together {
    std::atomic<int> connected{0};
    std::atomic<uint32_t> warned{0};  // a bit for each Code
  };
  return [=, all = std::make_shared<Together>(), was_connected = false](bool is_connected, const Status& why) mutable {
    if (is_connected && !std::exchange(was_connected, true) && ++all->connected == channels) {
      LOG(debug, "connected", {"worker", worker}, {"address", address});
      all->warned = 0;
    } else if (!is_connected) {
      if (std::exchange(was_connected, false)) --all->connected;
      const uint32_t reason = 1U << static_cast<uint32_t>(why.code());
      if ((all->warned.fetch_or(reason) & reason) == 0)
        LOG(warn, "not connected", {"worker", worker}, {"address", address}, {"why", why.text()});
    }
  };
}

// What outlives the frontend in callbacks that are on their way: they find `owner` null then.
// Lock order: this one, then the frontend's, then a router's.
struct Anchor {
  Mutex mutex;
  WatchingFrontend* owner GUARDED_BY(mutex) = nullptr;
};

class WatchingFrontend final : public Frontend {
 public:
  WatchingFrontend(FrontendOptions options, discovery::Registry* registry, events::EventBus* bus, IoThreads* io,
                   Metrics* metrics)
      : options_(std::move(options)), registry_(registry), bus_(bus), io_(io), metrics_(metrics), loader_(1) {
    MutexLock lock(anchor_->mutex);
    anchor_->owner = this;
  }
  ~WatchingFrontend() override { CHECK(is_stopped_); }

  Status start(Time until) {
    const std::string& name_space = options_.name_space;
    subscriptions_.push_back(
        bus_->subscribe(events::kv_subjects(name_space), [this](std::string_view subject, std::string_view data) {
          const uint64_t from = events::publisher_of(subject).value_or(0);
          if (const auto router = router_of(from)) router->on_events(from, data);
        }));
    subscriptions_.push_back(
        bus_->subscribe(events::load_subjects(name_space), [this](std::string_view subject, std::string_view data) {
          const uint64_t from = events::publisher_of(subject).value_or(0);
          if (const auto router = router_of(from)) router->on_heartbeat(from, data);
        }));
    if (options_.syncs_replicas) {
      subscriptions_.push_back(
          bus_->subscribe(events::routers_subject(name_space), [this](std::string_view, std::string_view data) {
            for (const auto& router : routers()) router->on_router_notice(data);
          }));
    }
    // Events are missed by nobody whose snapshot is taken after this.
    TRY_STATUS(bus_->flush(until).with("subscribing to the workers' events"));
    watches_.push_back(
        registry_->watch(discovery::workers_prefix(options_.name_space),
                         [this](std::span<const discovery::KeyChange> changes) { on_workers(changes); }));
    watches_.push_back(registry_->watch(discovery::config_prefix(),
                                        [this](std::span<const discovery::KeyChange> changes) { on_config(changes); }));
    return {};
  }

  void stop() override {
    watches_.clear();
    subscriptions_.clear();
    {
      MutexLock lock(anchor_->mutex);
      anchor_->owner = nullptr;
    }
    loader_.join();
    MutexLock lock(mutex_);
    for (auto& [key, member] : members_)
      if (member.remote) member.remote->stop();
    members_.clear();
    holders_.clear();
    models_.clear();
    is_stopped_ = true;
  }

  std::shared_ptr<const openai::ServedModel> find(std::string_view name) const override {
    MutexLock lock(mutex_);
    const auto found = models_.find(name);
    return found == models_.end() ? nullptr : found->second->served;
  }
  std::vector<std::shared_ptr<const openai::ServedModel>> list() const override {
    MutexLock lock(mutex_);
    std::vector<std::shared_ptr<const openai::ServedModel>> all;
    for (const auto& [name, model] : models_)
      if (model->served) all.push_back(model->served);
    return all;
  }

  bool is_warm() const override;
  bool is_ready() const override;
  json::array instances() const override;
  json::array explain(size_t last, const std::string& request_id) const override;
  Task<json::array> clear_blocks(Time until) override;

  // Callbacks of coroutines.
  void on_bundle(const std::string& key, uint64_t instance, const Result<std::string>& bytes);
  void on_blocks(const std::string& model, uint64_t instance, const Result<rpc::BlockSnapshot>& blocks);
  // Whether the worker is there without a key. Removes it if it is not connected either.
  bool is_kept_without_key(const std::string& key, uint64_t instance);
  std::shared_ptr<rpc::RemoteWorker> remote_of(uint64_t instance) const {
    MutexLock lock(mutex_);
    const auto found = holders_.find(instance);
    return found == holders_.end() ? nullptr : members_.at(found->second).remote;
  }

 private:
  void on_workers(std::span<const discovery::KeyChange> changes);
  void list(const std::string& key, const std::string& value) REQUIRES(mutex_);
  void unlist(const std::string& key) REQUIRES(mutex_);
  void remove_unlisted(uint64_t instance) REQUIRES(mutex_);
  void add(const std::string& key, const std::string& value) REQUIRES(mutex_);
  void remove(const std::string& key) REQUIRES(mutex_);
  void readmit() REQUIRES(mutex_);
  std::shared_ptr<Model> model_for(const WorkerInstance& instance) REQUIRES(mutex_);
  std::string why_refused(const WorkerInstance& instance) const REQUIRES(mutex_);
  void fetch_bundle(const std::string& key, const Member& member) REQUIRES(mutex_);
  void route(const Member& member) REQUIRES(mutex_);
  void update_served(Model* model) REQUIRES(mutex_);
  void on_config(std::span<const discovery::KeyChange> changes);
  router::RouterSettings settings_for(const std::string& model) const REQUIRES(mutex_);
  std::shared_ptr<router::Router> router_of(uint64_t instance) const;
  std::vector<std::shared_ptr<router::Router>> routers() const;
  static void fetch_blocks(const std::shared_ptr<Anchor>& anchor, IoThreads* io, const std::string& model,
                           uint64_t instance);

  const FrontendOptions options_;
  discovery::Registry* registry_;
  events::EventBus* bus_;
  IoThreads* io_;
  Metrics* metrics_;
  asio::thread_pool loader_;
  std::shared_ptr<Anchor> anchor_ = std::make_shared<Anchor>();
  mutable Mutex mutex_;
  std::map<std::string, Member> members_ GUARDED_BY(mutex_);    // by key
  std::map<uint64_t, std::string> holders_ GUARDED_BY(mutex_);  // instances to the keys of those that are not refused
  std::map<std::string, std::shared_ptr<Model>, std::less<>> models_ GUARDED_BY(mutex_);
  std::map<uint64_t, std::shared_ptr<router::Router>> routers_ GUARDED_BY(mutex_);  // by instance
  std::map<std::string, std::string> config_ GUARDED_BY(mutex_);                    // slug to JSON
  std::optional<Time> first_view_ GUARDED_BY(mutex_);
  bool is_stopped_ = false;
  std::vector<std::unique_ptr<events::Subscription>> subscriptions_;
  std::vector<std::unique_ptr<discovery::Watch>> watches_;
};

// ---- members come and go ----

void WatchingFrontend::on_workers(std::span<const discovery::KeyChange> changes) {
  MutexLock lock(mutex_);
  if (!first_view_) first_view_ = Clock::steady().now();
  for (const discovery::KeyChange& change : changes) {
    if (change.value) {
      list(change.key, *change.value);
    } else {
      unlist(change.key);
    }
  }
  readmit();
}

void WatchingFrontend::list(const std::string& key, const std::string& value) {
  if (const auto found = members_.find(key); found != members_.end()) {
    Member& member = found->second;
    if (std::exchange(member.is_unlisted, false) && member.announced == value) {
      LOG(info, "a worker's key is back", {"worker", member.instance.name});
      return;
    }
    remove(key);
  }
  add(key, value);
}

void WatchingFrontend::unlist(const std::string& key) {
  const auto found = members_.find(key);
  if (found == members_.end()) return;
  Member& member = found->second;
  if (!member.remote || !member.remote->is_connected()) return remove(key);
  member.is_unlisted = true;
  LOG(warn, "a worker's key is gone; it stays while it is connected", {"worker", member.instance.name});
  const auto look = [](std::shared_ptr<Anchor> anchor, std::string key, uint64_t instance) -> Task<void> {
    asio::steady_timer timer(co_await asio::this_coro::executor);
    for (;;) {
      timer.expires_after(kLook);
      co_await timer.async_wait(asio::use_awaitable);
      MutexLock lock(anchor->mutex);
      if (!anchor->owner || !anchor->owner->is_kept_without_key(key, instance)) co_return;
    }
  };
  asio::io_context& thread = io_->next();
  asio::post(thread, [look, &thread, anchor = anchor_, key, instance = member.instance.instance] {
    asio::co_spawn(thread, look(anchor, key, instance), asio::detached);
  });
}

bool WatchingFrontend::is_kept_without_key(const std::string& key, uint64_t instance) {
  MutexLock lock(mutex_);
  const auto found = members_.find(key);
  if (found == members_.end() || !found->second.is_unlisted || found->second.instance.instance != instance)
    return false;
  if (found->second.remote->is_connected()) return true;
  remove(key);
  readmit();
  return false;
}

void WatchingFrontend::remove_unlisted(uint64_t instance) {
  const auto found = holders_.find(instance);
  if (found != holders_.end() && members_.at(found->second).is_unlisted) remove(std::string(found->second));
}

void WatchingFrontend::add(const std::string& key, const std::string& value) {
  auto read = discovery::worker_from_json(value);
  Member member;
  member.announced = value;
  if (!read.is_ok()) {
    member.refusal = read.status().text();
  } else {
    member.instance = std::move(read).value();
    if (discovery::worker_key(options_.name_space, member.instance) != key) {
      member.refusal = "the key is not that of its value";
    } else if (member.instance.is_leaving) {
      return;
    } else {
      remove_unlisted(member.instance.instance);  // in the role that it had
      member.refusal = why_refused(member.instance);
      member.is_refused_by_others = !member.refusal.empty();
    }
  }
  if (!member.refusal.empty()) {
    LOG(warn, "a worker is left out", {"key", key}, {"why", member.refusal});
    members_.emplace(key, std::move(member));
    return;
  }
  member.model = model_for(member.instance);
  rpc::ChannelOptions channel;
  channel.address = member.instance.address;
  channel.expected_instance = member.instance.instance;
  channel.identity = {options_.name_space, options_.version, 0};
  channel.on_change = tell_changes(member.instance.name, channel.address, static_cast<int>(io_->size()));
  member.remote = rpc::RemoteWorker::create(std::move(channel), io_);
  member.remote->start();
  LOG(info, "worker found", {"worker", member.instance.name}, {"model", member.instance.model},
      {"address", member.instance.address});
  holders_.emplace(member.instance.instance, key);
  const Member& kept = members_.emplace(key, std::move(member)).first->second;
  if (kept.model->tokenizer) {
    route(kept);
  } else {
    fetch_bundle(key, kept);
  }
}

void WatchingFrontend::remove(const std::string& key) {
  const auto found = members_.find(key);
  if (found == members_.end()) return;
  Member member = std::move(found->second);
  members_.erase(found);
  if (!member.remote) return;
  LOG(info, "worker gone", {"worker", member.instance.name}, {"model", member.instance.model});
  holders_.erase(member.instance.instance);
  routers_.erase(member.instance.instance);
  member.model->router->remove_worker(member.instance.instance);
  member.remote->retire();
  update_served(member.model.get());
  const bool is_last =
      std::ranges::none_of(members_, [&](const auto& one) { return one.second.model == member.model; });
  if (is_last) models_.erase(member.model->name);
}

// Takes in those that were refused beside workers which have left since.
void WatchingFrontend::readmit() {
  std::vector<std::pair<std::string, std::string>> refused;
  for (const auto& [key, member] : members_)
    if (member.is_refused_by_others) refused.emplace_back(key, member.announced);
  for (const auto& [key, announced] : refused) {
    if (!why_refused(members_.at(key).instance).empty()) continue;
    members_.erase(key);
    add(key, announced);
  }
}

std::shared_ptr<Model> WatchingFrontend::model_for(const WorkerInstance& instance) {
  auto& model = models_[instance.model];
  if (model) return model;
  model = std::make_shared<Model>();
  model->name = instance.model;
  model->digest = instance.model_digest;
  model->block_tokens = instance.block_tokens;
  router::RouterOptions options = options_.router;
  options.block_tokens = instance.block_tokens;
  options.settings = settings_for(instance.model);
  router::RouterHooks hooks;
  hooks.fetch_snapshot = [anchor = anchor_, io = io_, name = instance.model](uint64_t worker) {
    fetch_blocks(anchor, io, name, worker);
  };
  if (options_.syncs_replicas) {
    hooks.tell_routers = [bus = bus_, subject = events::routers_subject(options_.name_space)](
                             const std::string& notice) { bus->publish(subject, notice); };
  }
  model->router = std::make_shared<router::Router>(std::move(options), std::move(hooks), metrics_, instance.model);
  return model;
}

// What other members have against one that is not among them yet, or refused; empty: nothing.
std::string WatchingFrontend::why_refused(const WorkerInstance& instance) const {
  // One that merely lost its key gives way to the same worker in another role.
  if (const auto same = holders_.find(instance.instance);
      same != holders_.end() && !members_.at(same->second).is_unlisted) {
    return fmt::format(
        "instance {} is announced already, by {}: an instance is one worker with one key; remove this key",
        instance_text(instance.instance), same->second);
  }
  const auto found = models_.find(instance.model);
  if (found == models_.end()) {
    if (models_.size() < kMostModels) return {};
    return fmt::format("this frontend has {} models already, as many as it takes", models_.size());
  }
  const Model& model = *found->second;
  if (instance.block_tokens != model.block_tokens) {
    return fmt::format("its block size is {}, that of the other workers of '{}' {} (--page-size)",
                       instance.block_tokens, model.name, model.block_tokens);
  }
  if (instance.model_digest != model.digest) {
    return fmt::format("it serves another model under the name '{}': digest {}, the others' {}", model.name,
                       instance.model_digest.substr(0, 16), model.digest.substr(0, 16));
  }
  return {};
}

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

void WatchingFrontend::route(const Member& member) {
  router::RoutedWorker routed;
  routed.instance = member.instance.instance;
  routed.name = member.instance.name;
  routed.serves = serves_of(member.instance.role);
  routed.address = member.instance.address;
  routed.generator = member.remote;
  routed.is_reachable = [remote = member.remote] { return remote->is_connected(); };
  routed.total_blocks = member.instance.total_blocks;
  routed.max_sequences = member.instance.max_sequences;
  routed.has_events = true;
  routed.vocab_size = member.model->card.vocab_size;
  if (const Status added = member.model->router->add_worker(std::move(routed)); added.is_ok()) {
    routers_[member.instance.instance] = member.model->router;
  } else {
    LOG(error, "a worker gets no requests", {"worker", member.instance.name}, {"why", added.to_string()});
  }
  update_served(member.model.get());
}

// Serves the model as its present workers allow.
void WatchingFrontend::update_served(Model* model) {
  if (!model->tokenizer) return;
  uint32_t context = 0;
  for (const auto& [key, member] : members_) {
    if (member.model.get() != model || !member.refusal.empty()) continue;
    context = context == 0 ? member.instance.context_length : std::min(context, member.instance.context_length);
  }
  if (context == 0) {
    LOG(info, "model gone: its last worker left", {"model", model->name});
    model->served = nullptr;
    return;
  }
  if (!model->served) LOG(info, "model served", {"model", model->name});
  auto served = std::make_shared<openai::ServedModel>();
  served->card = model->card;
  served->card.name = model->name;
  served->card.context_length = context;
  served->created = model->created;
  served->tokenizer = model->tokenizer;
  served->chat_template = model->chat_template;
  served->generator = model->router;
  model->served = std::move(served);
}

// ---- what workers bring ----

void WatchingFrontend::fetch_bundle(const std::string& key, const Member& member) {
  if (member.model->is_fetching) return;
  member.model->is_fetching = true;
  const auto fetch = [](std::shared_ptr<Anchor> anchor, std::shared_ptr<rpc::RemoteWorker> remote, std::string key,
                        WorkerInstance instance, Duration timeout, asio::thread_pool* loader) -> Task<void> {
    auto bytes = co_await remote->fetch_model(instance.model_digest, Clock::steady().now() + timeout);
    if (!bytes.is_ok()) {
      asio::steady_timer pause(co_await asio::this_coro::executor);
      pause.expires_after(kFetchPause);
      co_await pause.async_wait(asio::use_awaitable);
    }
    MutexLock lock(anchor->mutex);
    if (!anchor->owner) co_return;
    asio::post(*loader, [anchor, key, instance = instance.instance, bytes = std::move(bytes)] {
      WatchingFrontend* owner = nullptr;
      {
        MutexLock lock(anchor->mutex);
        owner = anchor->owner;
      }
      if (owner) owner->on_bundle(key, instance, bytes);  // stop() waits for this thread
    });
  };
  asio::io_context& thread = io_->next();
  asio::post(thread, [fetch, &thread, anchor = anchor_, remote = member.remote, key, instance = member.instance,
                      timeout = member.model->fetch_timeout, loader = &loader_] {
    asio::co_spawn(thread, fetch(anchor, remote, key, instance, timeout, loader), asio::detached);
  });
}

void WatchingFrontend::on_bundle(const std::string& key, uint64_t instance, const Result<std::string>& bytes) {
  std::shared_ptr<Model> model;
  std::string digest;
  {
    MutexLock lock(mutex_);
    const auto found = members_.find(key);
    if (found != members_.end() && found->second.instance.instance == instance && found->second.model) {
      model = found->second.model;
      digest = model->digest;
    }
  }
  // Slow work outside the lock: this is the one loading thread.
  Status failure = bytes.status();
  Result<model_bundle::Parts> parts;
  std::shared_ptr<const text::Tokenizer> tokenizer;
  std::shared_ptr<const text::ChatTemplate> chat_template;
  if (model && failure.is_ok()) {
    parts = model_bundle::from_bytes(*bytes, digest);
    failure = parts.status();
    if (failure.is_ok()) {
      auto made = text::Tokenizer::create(std::move(parts->tokenizer));
      failure = made.status();
      if (made.is_ok()) tokenizer = std::move(made).value();
    }
    if (failure.is_ok() && !parts->chat_template.empty()) {
      auto made = text::ChatTemplate::compile(parts->chat_template);
      failure = made.status();
      if (made.is_ok()) chat_template = std::move(made).value();
    }
  }
  MutexLock lock(mutex_);
  if (model && model->tokenizer) return;  // another fetch was faster
  if (model && failure.is_ok() && tokenizer) {
    model->tokenizer = std::move(tokenizer);
    model->chat_template = std::move(chat_template);
    model->card = parts->card;
    model->created = std::time(nullptr);
    for (const auto& [other, member] : members_)
      if (member.model == model && member.refusal.empty()) route(member);
    return;
  }
  if (!failure.is_ok()) LOG(warn, "a model's description did not come", {"from", key}, {"why", failure.to_string()});
  // Ask again, of the next worker of a model that still waits.
  for (auto& [name, waiting] : models_) {
    if (waiting->tokenizer || (model && waiting != model)) continue;
    waiting->is_fetching = false;
    waiting->fetch_timeout = std::min(2 * waiting->fetch_timeout, kFetchTimeout);
    auto next = members_.upper_bound(key);
    for (size_t i = 0; i < members_.size(); ++i, ++next) {
      if (next == members_.end()) next = members_.begin();
      if (next->second.model != waiting || !next->second.refusal.empty()) continue;
      fetch_bundle(next->first, next->second);
      break;
    }
  }
}

// Takes no lock: it is called under some.
void WatchingFrontend::fetch_blocks(const std::shared_ptr<Anchor>& anchor, IoThreads* io, const std::string& model,
                                    uint64_t instance) {
  const auto fetch = [](std::shared_ptr<Anchor> anchor, std::string model, uint64_t instance) -> Task<void> {
    std::shared_ptr<rpc::RemoteWorker> remote;
    {
      MutexLock lock(anchor->mutex);
      if (anchor->owner) remote = anchor->owner->remote_of(instance);
    }
    Result<rpc::BlockSnapshot> blocks = unavailable("the worker left");
    if (remote) blocks = co_await remote->fetch_blocks(Clock::steady().now() + kFetchTimeout);
    MutexLock lock(anchor->mutex);
    if (anchor->owner) anchor->owner->on_blocks(model, instance, blocks);
  };
  asio::io_context& thread = io->next();
  asio::post(thread, [fetch, anchor, &thread, model, instance] {
    asio::co_spawn(thread, fetch(anchor, model, instance), asio::detached);
  });
}

void WatchingFrontend::on_blocks(const std::string& model, uint64_t instance,
                                 const Result<rpc::BlockSnapshot>& blocks) {
  std::shared_ptr<router::Router> router;
  {
    MutexLock lock(mutex_);
    const auto found = models_.find(model);
    if (found == models_.end()) return;
    router = found->second->router;
  }
  if (!blocks.is_ok()) {
    router->on_no_snapshot(instance, blocks.status());
    return;
  }
  static_assert(sizeof(kv::BlockHash) == sizeof(uint64_t));
  std::vector<kv::BlockHash> hashes(blocks->blocks.size());
  std::memcpy(static_cast<void*>(hashes.data()), blocks->blocks.data(), hashes.size() * sizeof(uint64_t));
  router->on_snapshot(instance, blocks->last_event, hashes);
}

std::shared_ptr<router::Router> WatchingFrontend::router_of(uint64_t instance) const {
  MutexLock lock(mutex_);
  const auto found = routers_.find(instance);
  return found == routers_.end() ? nullptr : found->second;
}

std::vector<std::shared_ptr<router::Router>> WatchingFrontend::routers() const {
  MutexLock lock(mutex_);
  std::vector<std::shared_ptr<router::Router>> all;
  for (const auto& [name, model] : models_) all.push_back(model->router);
  return all;
}

// ---- settings ----

router::RouterSettings WatchingFrontend::settings_for(const std::string& model) const {
  const auto found = config_.find(discovery::slug_of(model));
  if (found == config_.end()) return options_.router.settings;
  auto settings = settings_from_json(found->second, options_.router.settings);
  if (settings.is_ok()) return *settings;
  LOG(warn, "settings are ignored", {"model", model}, {"why", settings.status().to_string()});
  return options_.router.settings;
}

void WatchingFrontend::on_config(std::span<const discovery::KeyChange> changes) {
  MutexLock lock(mutex_);
  for (const discovery::KeyChange& change : changes) {
    const std::string slug = discovery::slug_of_config_key(change.key).value_or("");
    if (change.value) {
      config_[slug] = *change.value;
    } else {
      config_.erase(slug);
    }
    for (const auto& [name, model] : models_) {
      if (discovery::slug_of(name) != slug) continue;
      model->router->set(settings_for(name));
      LOG(info, "settings changed", {"model", name});
    }
  }
}

// ---- what one sees ----

bool WatchingFrontend::is_warm() const {
  std::vector<std::shared_ptr<Model>> models;
  {
    MutexLock lock(mutex_);
    if (!first_view_) return false;
    for (const auto& [name, model] : models_) models.push_back(model);
    for (const auto& model : models)
      if (!model->tokenizer) return false;
  }
  for (const auto& model : models)
    for (const router::WorkerView& worker : model->router->view())
      if (worker.state == "loading index") return false;
  return true;
}

bool WatchingFrontend::is_ready() const {
  {
    MutexLock lock(mutex_);
    const bool is_served = std::ranges::any_of(models_, [](const auto& one) { return one.second->served != nullptr; });
    if (!is_served || !first_view_) return false;
    if (Clock::steady().now() >= *first_view_ + options_.warm_limit) return true;
  }
  return is_warm();
}

json::array WatchingFrontend::instances() const {
  std::map<uint64_t, router::WorkerView> views;
  for (const auto& router : routers())
    for (router::WorkerView& view : router->view()) views.emplace(view.instance, std::move(view));
  MutexLock lock(mutex_);
  json::array all;
  for (const auto& [key, member] : members_) {
    json::object one{{"worker", member.instance.name},
                     {"instance", instance_text(member.instance.instance)},
                     {"role", discovery::role_name(member.instance.role)},
                     {"model", member.instance.model},
                     {"address", member.instance.address}};
    const auto view = views.find(member.instance.instance);
    if (!member.refusal.empty()) {
      one["state"] = "refused";
      one["why"] = member.refusal;
      one["key"] = shown(key);
    } else if (view == views.end()) {
      one["state"] = "loading model";
    } else {
      if (member.is_unlisted) one["why"] = "its key is gone; it stays while it is connected";
      one["state"] = view->second.state;
      one["active_requests"] = view->second.active_requests;
      one["queued_tokens"] = view->second.queued_tokens;
      one["active_blocks"] = view->second.active_blocks;
      one["cached_blocks"] = view->second.cached_blocks;
      one["total_blocks"] = view->second.total_blocks;
      one["index"] = view->second.index_state;
    }
    all.push_back(std::move(one));
  }
  return all;
}

json::array WatchingFrontend::explain(size_t last, const std::string& request_id) const {
  router::Decisions decisions;
  for (const auto& router : routers())
    for (auto& one : router->decisions(last, request_id)) decisions.push_back(std::move(one));
  std::ranges::stable_sort(decisions, std::greater(), [](const auto& one) { return one->at; });
  if (decisions.size() > last) decisions.resize(last);
  json::array all;
  all.reserve(decisions.size());
  for (const auto& one : decisions) all.push_back(router::to_json(*one));
  return all;
}

Task<json::array> WatchingFrontend::clear_blocks(Time until) {
  std::vector<std::pair<std::string, std::shared_ptr<rpc::RemoteWorker>>> workers;
  {
    MutexLock lock(mutex_);
    for (const auto& [key, member] : members_)
      if (member.remote) workers.emplace_back(member.instance.name, member.remote);
  }
  json::array all;
  for (const auto& [name, remote] : workers) {
    const Status status = co_await remote->clear_blocks(until);
    all.push_back(json::object{{"worker", name}, {"status", status.is_ok() ? "cleared" : status.to_string()}});
  }
  co_return all;
}

}  // namespace

Result<std::unique_ptr<Frontend>> Frontend::start(FrontendOptions options, discovery::Registry* registry,
                                                  events::EventBus* bus, IoThreads* io, Metrics* metrics, Time until) {
  auto frontend = std::make_unique<WatchingFrontend>(std::move(options), registry, bus, io, metrics);
  const Status status = frontend->start(until);
  if (status.is_ok()) return std::unique_ptr<Frontend>(std::move(frontend));
  frontend->stop();
  return status;
}

}  // namespace dynamo::frontend
