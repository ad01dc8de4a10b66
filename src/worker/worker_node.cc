#include "worker/worker_node.h"

#include <algorithm>
#include <optional>
#include <utility>

#include <fmt/format.h>

#include <boost/asio/thread_pool.hpp>

#include "base/host_port.h"
#include "base/instance_id.h"
#include "base/log.h"
#include "base/on_pool.h"
#include "events/subjects.h"
#include "model_bundle/model_bundle.h"
#include "rpc/server.h"
#include "worker/heartbeat.h"
#include "worker/kv_publisher.h"
#include "worker/membership.h"
#include "worker/requests_in_flight.h"
#include "worker/worker_service.h"

namespace dynamo::worker {
namespace {

using discovery::Role;
using discovery::WorkerInstance;

constexpr Duration kLongestDrain = std::chrono::hours(24);

int64_t unix_milliseconds() {
  using std::chrono::milliseconds;
  return std::chrono::duration_cast<milliseconds>(std::chrono::system_clock::now().time_since_epoch()).count();
}

}  // namespace

struct WorkerNode::State {
  State(NodeOptions its_options, IoThreads* its_io) : options(std::move(its_options)), io(its_io) {}

  Status listen();
  Status start(discovery::Registry* registry, events::EventBus* bus, const LoadProgress& progress, Time until);
  Status serve_and_announce(events::EventBus* bus, Time until);
  // What the engine and this node make together, to be announced.
  WorkerInstance description() const;
  Task<Result<std::string>> answer_set_role(Role role, std::chrono::seconds drain);
  Result<std::string> set_role(Role role, std::chrono::seconds drain);
  void stop(Time until);

  const NodeOptions options;
  IoThreads* const io;
  const uint64_t instance = random_instance();
  EngineHost* host = nullptr;
  std::string first_name;
  RequestsInFlight requests;
  boost::asio::thread_pool role_changes{
      1};  // which wait for the registry and for requests to end, as an I/O thread must not
  std::unique_ptr<Membership> membership;
  std::unique_ptr<KvPublisher> publisher;
  std::unique_ptr<WorkerService> service;
  std::unique_ptr<rpc::Server> server;
  std::shared_ptr<Heartbeat> heartbeat;
};

Status WorkerNode::State::listen() {
  rpc::ServerOptions of_server;
  of_server.host = options.listen_host;
  of_server.port = options.port;
  of_server.identity = {options.name_space, options.version, instance};
  TRY(server, rpc::Server::listen(std::move(of_server), io));
  return {};
}

Status WorkerNode::State::start(discovery::Registry* registry, events::EventBus* bus, const LoadProgress& progress,
                                Time until) {
  WorkerInstance self;
  self.instance = instance;
  self.role = options.role;
  self.version = options.version;
  self.started_at = unix_milliseconds();
  membership = std::make_unique<Membership>(registry, options.name_space, std::move(self), options.lease_time);
  TRY_STATUS(membership->claim_name(until));
  publisher = std::make_unique<KvPublisher>(io->at(0).get_executor(), bus,
                                            events::kv_subject(options.name_space, instance), instance);
  first_name = membership->instance().name;
  TRY_STATUS(host->start(first_name, publisher.get(), progress));
  if (std::ranges::count(host->spec().roles, options.role) == 0)
    return unsupported(fmt::format("this engine cannot serve as {}", discovery::role_name(options.role)));
  return serve_and_announce(bus, until);
}

WorkerInstance WorkerNode::State::description() const {
  const EngineSpec& spec = host->spec();
  WorkerInstance self = membership->instance();
  self.model = spec.model;
  self.address = host_port_text(options.announced_host, server->port());
  self.block_tokens = spec.block_tokens;
  self.total_blocks = host->load().engine.total_blocks;
  self.max_batch_tokens = spec.max_batch_tokens;
  self.max_sequences = spec.max_sequences;
  self.context_length = spec.context_length;
  self.transfer = spec.transfer;
  self.model_digest = model_bundle::digest_of(spec.model_bundle);
  return self;
}

Status WorkerNode::State::serve_and_announce(events::EventBus* bus, Time until) {
  WorkerInstance self = description();
  service = std::make_unique<WorkerService>(WorkerServiceParts{
      .host = host,
      .model_digest = self.model_digest,
      .blocks = publisher.get(),
      .requests = &requests,
      .set_role = [this](Role role, std::chrono::seconds drain) { return answer_set_role(role, drain); }});
  server->start([of = service.get()](std::string request, rpc::ReplyStream* reply) {
    return of->handle(std::move(request), reply);
  });
  heartbeat = std::make_shared<Heartbeat>(&io->at(0), options.heartbeat, [this, bus] {
    bus->publish(events::load_subject(options.name_space, instance),
                 heartbeat_of(instance, publisher->summary(), host->load()));
  });
  heartbeat->start();
  return membership->announce(std::move(self), until);
}

Task<Result<std::string>> WorkerNode::State::answer_set_role(Role role, std::chrono::seconds drain) {
  auto change = [](State* self, Role to, std::chrono::seconds within) -> Task<Result<std::string>> {
    co_return self->set_role(to, within);
  };
  auto changing = change(this, role, drain);
  co_return co_await on_pool(&role_changes, std::move(changing));
}

// On the one thread of role_changes. Returns: its name then.
Result<std::string> WorkerNode::State::set_role(Role role, std::chrono::seconds drain) {
  const WorkerInstance before = membership->instance();
  if (role == before.role) return before.name;
  if (std::ranges::count(host->spec().roles, role) == 0)
    return unsupported(
        "this worker moves no KV blocks; start it with --disaggregation-mode prefill or decode to change roles later");
  TRY_STATUS(membership->leave_role(role));
  LOG(info, "changing roles: no new requests until those it has are over", {"worker", before.name},
      {"to", discovery::role_name(role)});
  const Time until = Clock::steady().now() + std::min<Duration>(drain, kLongestDrain);
  const Status quiet = requests.wait_until_quiet(options.quiet_before_role_change, until);
  if (!quiet.is_ok()) {
    membership->stay();
    return quiet.with("it stays what it was");
  }
  const Status taken = membership->take_role(role);
  const WorkerInstance now = membership->instance();
  if (now.name != before.name && options.on_renamed) options.on_renamed(first_name, now.name);
  TRY_STATUS(taken);
  LOG(info, "worker ready", {"worker", now.name}, {"before", before.name}, {"role", discovery::role_name(now.role)});
  return now.name;
}

void WorkerNode::State::stop(Time until) {
  requests.stop_waiting();
  if (membership) membership->stop_waiting();
  role_changes.join();
  if (membership) membership->leave();
  if (heartbeat) heartbeat->stop();
  if (server) server->stop(until);
  server.reset();
  if (host != nullptr) host->stop(Clock::steady().now());
}

Result<std::unique_ptr<WorkerNode>> WorkerNode::listen(NodeOptions options, IoThreads* io) {
  std::unique_ptr<WorkerNode> node(new WorkerNode(std::make_unique<State>(std::move(options), io)));
  TRY_STATUS(node->state_->listen());
  return node;
}

WorkerNode::WorkerNode(std::unique_ptr<State> state) : state_(std::move(state)) {}

WorkerNode::~WorkerNode() {
  CHECK(!state_->server);
}

Status WorkerNode::start(discovery::Registry* registry, events::EventBus* bus, EngineHost* host,
                         const LoadProgress& progress, Time until) {
  state_->host = host;
  return state_->start(registry, bus, progress, until);
}

WorkerInstance WorkerNode::instance() const {
  return state_->membership->instance();
}

void WorkerNode::stop(Time until) {
  state_->stop(until);
}

}  // namespace dynamo::worker
