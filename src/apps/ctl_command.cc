// dynamo ctl: changes to what runs.
#include <memory>
#include <vector>

#include <fmt/format.h>

#include <boost/asio/co_spawn.hpp>

#include "apps/command.h"
#include "apps/planes.h"
#include "apps/print.h"
#include "base/instance_id.h"
#include "discovery/keys.h"
#include "rpc/worker_client.h"

namespace dynamo::apps {
namespace {

struct RoleFlags {
  PlaneFlags planes;
  std::string worker;
  std::string role;
  std::chrono::seconds drain_timeout{60};
};

// By name ("decode-worker-1") or instance.
Result<discovery::WorkerInstance> find_worker(const std::vector<discovery::WorkerInstance>& workers,
                                              const std::string& wanted) {
  std::string names;
  for (const discovery::WorkerInstance& worker : workers) {
    if (worker.name == wanted || instance_text(worker.instance) == wanted) return worker;
    names += (names.empty() ? "" : ", ") + worker.name;
  }
  return not_found(fmt::format("there is no worker '{}'; there are: {}", wanted, names.empty() ? "none" : names));
}

Result<std::vector<discovery::WorkerInstance>> list_workers(discovery::Registry* registry,
                                                            const std::string& name_space, Time until) {
  TRY(const auto keys, registry->list(discovery::workers_prefix(name_space), until));
  std::vector<discovery::WorkerInstance> workers;
  for (const auto& [key, value] : keys) {
    auto worker = discovery::worker_from_json(value);
    if (worker.is_ok() && !worker->is_leaving) workers.push_back(std::move(worker).value());
  }
  return workers;
}

Status set_role(const RoleFlags& flags) {
  TRY(Planes planes, open_planes(flags.planes));
  const Time until = Clock::steady().now() + flags.planes.startup_timeout;
  TRY(const auto workers, list_workers(planes.registry, flags.planes.name_space, until));
  TRY(const discovery::WorkerInstance worker, find_worker(workers, flags.worker));
  boost::asio::io_context io(1);
  rpc::ChannelOptions options;
  options.address = worker.address;
  options.expected_instance = worker.instance;
  options.identity = {flags.planes.name_space, DYNAMO_VERSION, 0};
  const auto client = rpc::WorkerClient::create(std::move(options), {io.get_executor()});
  client->start();
  Result<std::string> name = unavailable("no answer");
  const Time answer_by = Clock::steady().now() + flags.drain_timeout + std::chrono::seconds(30);
  boost::asio::co_spawn(io, client->set_role({flags.role, flags.drain_timeout}, answer_by),
                        [&](const std::exception_ptr& failure, Result<std::string> answer) {
                          name = failure ? internal("an exception while asking") : std::move(answer);
                          client->stop();
                        });
  io.run();
  if (!name.is_ok()) return name.status().with(worker.name);
  print(*name == worker.name ? fmt::format("{} is that already\n", worker.name)
                             : fmt::format("{} is {} now\n", worker.name, *name));
  return {};
}

}  // namespace

Command ctl_command() {
  auto flags = std::make_shared<RoleFlags>();
  Command role{.name = "role",
               .meaning =
                   "Let a worker serve in another role from now on; requests that it has end first, and none is "
                   "lost"};
  role.options.add("worker", text(&flags->worker), "Its name (decode-worker-1) or instance, as /health shows them")
      .required();
  role.options.add("role", one_of(&flags->role, {"aggregated", "prefill", "decode"}), "aggregated, prefill or decode")
      .required();
  role.options.add(options_of(&flags->planes));
  role.options.add("--drain-timeout", seconds(&flags->drain_timeout, 0, 86400),
                   "Seconds that requests may take to end; if they do not, the worker stays what it was");
  role.run = [=] { return finish("ctl", set_role(*flags)); };
  return {.name = "ctl", .meaning = "Change what runs", .commands = {std::move(role)}};
}

}  // namespace dynamo::apps
