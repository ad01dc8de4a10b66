#include "worker/worker_node.h"

#include <atomic>
#include <charconv>
#include <thread>

#include <fmt/format.h>

#include <boost/asio/steady_timer.hpp>
#include <boost/asio/thread_pool.hpp>

#include "base/host_port.h"
#include "base/instance_id.h"
#include "base/log.h"
#include "base/on_pool.h"
#include "discovery/keys.h"
#include "events/subjects.h"
#include "model_bundle/model_bundle.h"
#include "rpc/server.h"
#include "wire/messages.pb.h"
#include "wire/status.h"
#include "worker/kv_publisher.h"
#include "worker/worker_service.h"

namespace dynamo::worker {
namespace {

using discovery::Role;

constexpr uint32_t kMostNames = 1U << 20;
constexpr Duration kAwayLimit = std::chrono::seconds(60);  // of a registry, while a name is claimed
constexpr Duration kAwayPause = std::chrono::milliseconds(200);

std::string name_of(Role role, uint32_t number) {
  switch (role) {
    case Role::kAggregated:
      return fmt::format("worker-{}", number);
    case Role::kPrefill:
      return fmt::format("prefill-worker-{}", number);
    case Role::kDecode:
      return fmt::format("decode-worker-{}", number);
  }
  return {};
}

// Requires: a name_of().
uint32_t number_of(std::string_view name) {
  uint32_t number = 0;
  std::from_chars(name.data() + name.rfind('-') + 1, name.data() + name.size(), number);
  return number;
}

class AnnouncedNode final : public WorkerNode {
 public:
  AnnouncedNode(NodeOptions options, events::EventBus* bus, IoThreads* io)
      : options_(std::move(options)), bus_(bus), io_(io) {
    instance_.instance = random_instance();
    instance_.role = options_.role;
    instance_.version = options_.version;
    instance_.started_at =
        std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::system_clock::now().time_since_epoch())
            .count();
  }
  ~AnnouncedNode() override { CHECK(!server_); }

  Status start(discovery::Registry* registry, Time until,
               const std::function<Result<HostedEngine>(const std::string&, kv::KvEventSink*)>& make_engine) {
    lease_ = registry->lease(options_.lease_time);
    registry_ = registry;
    TRY(instance_.name,
        claim_name(registry, lease_.get(), options_.name_space, options_.role, instance_.instance, until));
    publisher_ =
        std::make_unique<KvPublisher>(io_->at(0).get_executor(), bus_,
                                      events::kv_subject(options_.name_space, instance_.instance), instance_.instance);
    TRY(engine_, make_engine(instance_.name, publisher_.get()));
    const Status status = serve_and_announce(until);
    if (!status.is_ok()) stop(Clock::steady().now());
    return status;
  }

  const discovery::WorkerInstance& instance() const override { return instance_; }

  void stop(Time until) override {
    is_stopping_ = true;
    role_changes_.join();
    // Routers see it go before it refuses.
    if (server_ && registry_->is_connected()) {
      say_goodbye();
      static_cast<void>(lease_->sync(Clock::steady().now() + kGoodbyeLimit));
    }
    lease_.reset();
    if (heartbeat_) heartbeat_->stop();
    if (server_) server_->stop(until);
    server_.reset();
    if (engine_.stop) engine_.stop(Clock::steady().now());
    engine_.stop = nullptr;
  }

 private:
  // Publishes heartbeats on an I/O thread until it is stopped.
  class Heartbeat : public std::enable_shared_from_this<Heartbeat> {
   public:
    Heartbeat(boost::asio::io_context* io, Duration interval, std::function<void()> beat)
        : timer_(*io), interval_(interval), beat_(std::move(beat)) {}
    void start() {
      boost::asio::post(timer_.get_executor(), [self = shared_from_this()] { self->tick(); });
    }
    // No beat comes after this.
    void stop() {
      MutexLock lock(mutex_);
      beat_ = nullptr;
    }

   private:
    void tick() {
      {
        MutexLock lock(mutex_);
        if (!beat_) return;
        beat_();
      }
      timer_.expires_after(interval_);
      timer_.async_wait([self = shared_from_this()](const boost::system::error_code&) { self->tick(); });
    }
    boost::asio::steady_timer timer_;
    Duration interval_;
    Mutex mutex_;
    std::function<void()> beat_ GUARDED_BY(mutex_);
  };

  Status serve_and_announce(Time until) {
    rpc::ServerOptions server;
    server.host = options_.listen_host;
    server.port = options_.port;
    server.identity = {options_.name_space, options_.version, instance_.instance};
    TRY(server_, rpc::Server::listen(std::move(server), io_));
    const engine::EngineLoad load = engine_.load();
    instance_.model = engine_.model;
    instance_.address = host_port_text(options_.announced_host, server_->port());
    instance_.block_tokens = engine_.block_tokens;
    instance_.total_blocks = load.total_blocks;
    instance_.max_batch_tokens = engine_.max_batch_tokens;
    instance_.max_sequences = engine_.max_sequences;
    instance_.context_length = engine_.context_length;
    instance_.transfer = engine_.transfer;
    instance_.model_digest = model_bundle::digest_of(engine_.model_bundle);
    TRY_STATUS(discovery::check(instance_).with("announcing the worker"));
    service_ = std::make_unique<WorkerService>(
        WorkerServiceParts{.generator = engine_.generator,
                           .model_bundle = std::move(engine_.model_bundle),
                           .model_digest = instance_.model_digest,
                           .blocks = publisher_.get(),
                           .clear_blocks = engine_.clear_blocks,
                           .prefill = engine_.prefill,
                           .set_role = [this](wire::SetRole wanted) { return answer_set_role(std::move(wanted)); }});
    server_->start([service = service_.get()](std::string request, rpc::ReplyStream* reply) {
      return service->handle(std::move(request), reply);
    });
    heartbeat_ = std::make_shared<Heartbeat>(&io_->at(0), options_.heartbeat, [this] { beat(); });
    heartbeat_->start();
    lease_->put(discovery::worker_key(options_.name_space, instance_), discovery::to_json(instance_));
    return lease_->sync(until).with("announcing the worker");
  }

  Task<std::string> answer_set_role(wire::SetRole wanted) {
    wire::RoleReply reply;
    // Waits for the registry and for requests to end, which an I/O thread must not.
    auto change = [](AnnouncedNode* self, wire::SetRole to) -> Task<Status> { co_return self->set_role(to); };
    auto changing = change(this, std::move(wanted));
    const Status status = co_await on_pool(&role_changes_, std::move(changing));
    if (status.is_ok()) {
      MutexLock lock(mutex_);
      reply.set_name(instance_.name);
    } else {
      reply.set_failure(wire::to_bytes(status));
    }
    co_return reply.SerializeAsString();
  }

  // On the one thread of role_changes_.
  Status set_role(const wire::SetRole& wanted) {
    const auto role = discovery::parse_role(wanted.role());
    if (!role) return invalid(fmt::format("role '{}': aggregated, prefill and decode are there", wanted.role()));
    if (*role == instance_.role) return {};
    if (is_stopping_) return unavailable("this worker is stopping");
    if (engine_.transfer.empty())
      return unsupported(
          "this worker moves no KV blocks; start it with --disaggregation-mode prefill or decode to change roles "
          "later");
    const discovery::WorkerInstance before = instance_;
    Status status = leave_role(*role);
    if (status.is_ok()) {
      LOG(info, "changing roles: no new requests until those it has are over", {"worker", before.name},
          {"to", wanted.role()});
      const auto limit = std::min(std::chrono::seconds(wanted.drain_seconds()), kLongestDrain);
      status = drain(Clock::steady().now() + limit);
    }
    if (status.is_ok()) status = take_role(*role);
    if (status.is_ok()) lease_->remove(discovery::worker_key(options_.name_space, before));
    lease_->put(discovery::worker_key(options_.name_space, instance_), discovery::to_json(instance_));
    TRY_STATUS(status);
    TRY_STATUS(lease_->sync(Clock::steady().now() + kAnnounceLimit).with("announcing the worker in its new role"));
    LOG(info, "worker ready", {"worker", instance_.name}, {"before", before.name},
        {"role", discovery::role_name(instance_.role)});
    return {};
  }

  // Says that it takes no new requests, unless its model would be without anyone who answers. Of the workers of a model one at a time
  // looks for others and says so, by a key that it claims meanwhile: of two that are told to leave at once, the second sees that the
  // first has left. (A worker that loses its lease, and the claim with it, is not seen by others either.)
  Status leave_role(Role to) {
    const Time until = Clock::steady().now() + kAnnounceLimit;
    const bool answers_no_more = to == Role::kPrefill;
    const std::string turn = discovery::role_turn_key(options_.name_space, instance_.model);
    Status status;
    if (answers_no_more) status = claim_turn(turn, until);
    if (status.is_ok() && answers_no_more) status = check_others_answer(until);
    if (status.is_ok()) {
      say_goodbye();
      status = lease_->sync(until).with("leaving the old role");
    }
    if (answers_no_more) lease_->remove(turn);  // also of a claim of which nothing is known
    return status;
  }

  Status claim_turn(const std::string& key, Time until) {
    for (;;) {
      TRY(const bool is_ours, lease_->claim(key, instance_text(instance_.instance), until));
      if (is_ours) return {};
      if (Clock::steady().now() >= until || is_stopping_)
        return unavailable(fmt::format("another worker of '{}' is leaving its role (it holds the key {}); try again",
                                       instance_.model, key));
      std::this_thread::sleep_for(kClaimPause);
    }
  }

  // Of the same model, as frontends tell them apart.
  Status check_others_answer(Time until) const {
    TRY(const auto keys, registry_->list(discovery::workers_prefix(options_.name_space), until));
    std::string others;
    for (const auto& [key, value] : keys) {
      const auto other = discovery::worker_from_json(value);
      if (!other.is_ok() || discovery::worker_key(options_.name_space, *other) != key ||
          other->model != instance_.model || other->instance == instance_.instance)
        continue;
      const bool is_alike =
          other->model_digest == instance_.model_digest && other->block_tokens == instance_.block_tokens;
      if (is_alike && !other->is_leaving && other->role != Role::kPrefill) return {};
      others += fmt::format("{}{} ({}{})", others.empty() ? "" : ", ", other->name, discovery::role_name(other->role),
                            other->is_leaving ? ", leaving"
                            : is_alike        ? ""
                                              : ", of another model or block size");
    }
    return invalid(fmt::format(
        "this worker is the last that answers for '{}'; others: {}. Start one that answers, or let another change to "
        "decode first (dynamo ctl role WORKER decode)",
        instance_.model, others.empty() ? "none" : others));
  }

  // A key that merely goes is no goodbye: a store may lose it.
  void say_goodbye() {
    discovery::WorkerInstance leaving = instance_;
    leaving.is_leaving = true;
    lease_->put(discovery::worker_key(options_.name_space, leaving), discovery::to_json(leaving));
  }

  Status drain(Time until) {
    // Frontends that have not heard of it yet may still send something.
    std::this_thread::sleep_for(kUntilHeard);
    for (;;) {
      const engine::EngineLoad load = engine_.load();
      if (load.running + load.waiting == 0) return {};
      if (Clock::steady().now() >= until || is_stopping_)
        return deadline(fmt::format("{} requests are not over; it stays what it was", load.running + load.waiting));
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
  }

  Status take_role(Role role) {
    auto name = claim_name(registry_, lease_.get(), options_.name_space, role, instance_.instance,
                           Clock::steady().now() + kAnnounceLimit);
    if (!name.is_ok()) return name.status();
    if (engine_.renamed) engine_.renamed(*name);
    lease_->remove(discovery::name_key(options_.name_space, instance_.role, number_of(instance_.name)));
    MutexLock lock(mutex_);
    instance_.role = role;
    instance_.name = std::move(name).value();
    return {};
  }

  void beat() {
    const KvPublisher::Summary held = publisher_->summary();
    const engine::EngineLoad load = engine_.load();
    wire::Heartbeat message;
    message.set_instance(instance_.instance);
    message.set_last_event(held.last_event);
    message.set_digest(held.digest);
    message.set_blocks(held.blocks);
    message.set_running(load.running);
    message.set_waiting(load.waiting);
    message.set_is_full(load.is_full);
    message.set_used_blocks(load.used_blocks);
    message.set_cached_blocks(load.cached_blocks);
    message.set_total_blocks(load.total_blocks);
    message.set_queued_tokens(load.queued_tokens);
    message.set_prefill_tokens_per_second(load.prefill_tokens_per_second);
    if (engine_.transfer_tokens_per_second)
      message.set_transfer_tokens_per_second(engine_.transfer_tokens_per_second());
    bus_->publish(events::load_subject(options_.name_space, instance_.instance), message.SerializeAsString());
  }

  static constexpr Duration kAnnounceLimit = std::chrono::seconds(10);
  static constexpr Duration kGoodbyeLimit = std::chrono::seconds(1);
  static constexpr Duration kUntilHeard = std::chrono::milliseconds(500);
  static constexpr Duration kClaimPause = std::chrono::milliseconds(20);
  static constexpr std::chrono::seconds kLongestDrain = std::chrono::hours(24);

  NodeOptions options_;
  discovery::Registry* registry_ = nullptr;
  std::atomic<bool> is_stopping_{false};
  boost::asio::thread_pool role_changes_{1};
  Mutex mutex_;  // for name and role of instance_, once it is announced
  events::EventBus* bus_;
  IoThreads* io_;
  discovery::WorkerInstance instance_;
  std::unique_ptr<discovery::Lease> lease_;
  std::unique_ptr<KvPublisher> publisher_;
  HostedEngine engine_;
  std::unique_ptr<WorkerService> service_;
  std::unique_ptr<rpc::Server> server_;
  std::shared_ptr<Heartbeat> heartbeat_;
};

Result<std::string> try_to_claim_name(discovery::Registry* registry, discovery::Lease* lease,
                                      const std::string& name_space, Role role, uint64_t instance, Time until) {
  const std::string prefix = discovery::names_prefix(name_space, role);
  TRY(const auto taken, registry->list(prefix, until));
  for (uint32_t number = 1; number < kMostNames; ++number) {
    const std::string key = discovery::name_key(name_space, role, number);
    if (taken.contains(key)) continue;
    TRY(const bool is_ours, lease->claim(key, instance_text(instance), until));
    if (is_ours) return name_of(role, number);
  }
  return exhausted("no name is free under " + prefix);
}

}  // namespace

Result<std::string> claim_name(discovery::Registry* registry, discovery::Lease* lease, const std::string& name_space,
                               Role role, uint64_t instance, Time until) {
  until = std::min(until, Clock::steady().now() + kAwayLimit);
  for (bool has_told = false;;) {
    auto name = try_to_claim_name(registry, lease, name_space, role, instance, until);
    if (name.is_ok() || name.status().code() != Code::kUnavailable || Clock::steady().now() + kAwayPause >= until)
      return name;
    if (!std::exchange(has_told, true))
      LOG(info, "waiting for the registry, for a name", {"why", name.status().to_string()});
    std::this_thread::sleep_for(kAwayPause);
  }
}

Result<std::unique_ptr<WorkerNode>> WorkerNode::start(
    NodeOptions options, discovery::Registry* registry, events::EventBus* bus, IoThreads* io, Time until,
    const std::function<Result<HostedEngine>(const std::string& name, kv::KvEventSink* events)>& make_engine) {
  auto node = std::make_unique<AnnouncedNode>(std::move(options), bus, io);
  TRY_STATUS(node->start(registry, until, make_engine));
  return std::unique_ptr<WorkerNode>(std::move(node));
}

}  // namespace dynamo::worker
