// dynamo mocker: workers whose engine takes the time a device would and computes nothing. Everything else is real.
#include <fstream>
#include <memory>
#include <sstream>

#include "apps/command.h"
#include "apps/engine_flags.h"
#include "apps/handoff_flags.h"
#include "apps/node_options.h"
#include "apps/planes.h"
#include "apps/status_server.h"
#include "apps/stop_signals.h"
#include "apps/whereabouts_flags.h"
#include "base/log.h"
#include "base/log_output.h"
#include "mocker/mock_host.h"
#include "worker/worker_node.h"

namespace dynamo::apps {
namespace {

struct MockerFlags {
  EngineFlags engine;  // model, name, block size, batch, sequences, queue, context
  PlaneFlags planes;
  uint32_t workers = 1;
  uint32_t blocks = 8192;
  double speedup = 1;
  std::string profile;
  WhereaboutsFlags whereabouts;
  HandoffFlags handoffs;
};

Result<mocker::CostProfile> read_profile(const std::string& path) {
  if (path.empty()) return mocker::CostProfile();
  std::ifstream file(path);
  if (!file) return not_found("--profile " + path + ": no such file");
  std::stringstream text;
  text << file.rdbuf();
  auto profile = mocker::profile_from_json(text.str());
  if (!profile.is_ok()) return profile.status().with("--profile " + path);
  return profile;
}

Result<mocker::MockHostOptions> mock_of(const MockerFlags& flags, const worker::Whereabouts& whereabouts) {
  engine::EngineOptions engine = flags.engine.worker.engine;
  engine.kv_blocks = flags.blocks;
  TRY(mocker::MockHostOptions mock, mocker::mock_of(flags.engine.model_path, flags.engine.served_model_name, engine));
  TRY(mock.profile, read_profile(flags.profile));
  mock.speedup = flags.speedup;
  mock.handoffs = part_of(flags.handoffs, flags.planes, whereabouts);
  return mock;
}

// One simulated worker.
struct Simulated {
  std::unique_ptr<worker::EngineHost> host;
  std::unique_ptr<worker::WorkerNode> node;
};

Status run_mocker(MockerFlags flags) {
  TRY_STATUS(find_model(&flags.engine));
  const StopSignals signals;  // before any thread starts
  std::optional<EndsWhileStarting> starting(&signals);
  Metrics metrics;
  TRY(Planes planes, open_planes(flags.planes));
  show_planes(planes, &metrics);
  log::show_metrics(&metrics);
  IoThreads io(1);
  TRY(const worker::Whereabouts whereabouts, whereabouts_of(flags.whereabouts, planes));
  TRY(const mocker::MockHostOptions mock, mock_of(flags, whereabouts));
  std::vector<Simulated> workers;
  const auto stop_all = [&] {
    for (const Simulated& worker : workers) worker.node->stop(Clock::steady().now());
    io.stop();  // before what its coroutines use goes
  };
  const Time until = Clock::steady().now() + flags.planes.startup_timeout;
  Status status;
  for (uint32_t i = 0; status.is_ok() && i < flags.workers; ++i) {
    auto listening =
        worker::WorkerNode::listen(node_options(flags.planes, whereabouts, flags.handoffs.role, &metrics), &io);
    status = listening.is_ok() ? Status() : listening.status().with("--host");
    if (!status.is_ok()) break;
    const Simulated& worker =
        workers.emplace_back(mocker::make_mock_host(mock, &io, &metrics), std::move(listening).value());
    status = worker.node->start(planes.registry, planes.bus.get(), worker.host.get(), [](double) {}, until);
  }
  std::unique_ptr<http::Server> system;
  if (status.is_ok()) status = start_status_server(flags.whereabouts, whereabouts.listen_host, &metrics, &io, &system);
  if (!status.is_ok()) {
    stop_all();
    return status;
  }
  LOG(info, "worker ready", {"mock_workers", workers.size()}, {"model", mock.model},
      {"system_port", system ? std::to_string(system->port()) : "none"});
  starting.reset();
  signals.wait();
  signals.release();
  if (system) system->stop(Clock::steady().now());
  stop_all();
  LOG(info, "stopped");
  return {};
}

}  // namespace

Command mocker_command() {
  auto flags = std::make_shared<MockerFlags>();
  Command command{
      .name = "mocker",
      .meaning =
          "Run simulated workers: real scheduling, cache, events and requests, made-up tokens in a device's time"};
  OptionSet& options = command.options;
  options.add(options_of(&flags->engine));
  options.add(options_of(&flags->planes));
  options.add("--num-workers", number(&flags->workers, 1U, 4096U), "Workers in this process");
  options.add("--num-blocks", number(&flags->blocks, 1U, 1U << 28), "KV blocks of each worker's cache");
  options.add("--speedup-ratio", number(&flags->speedup, 0.001, 1e9), "How much faster than the profile says");
  options.add("--profile", text(&flags->profile), "JSON file with the cost of a step (docs/mocker.md)");
  options.add(options_of(&flags->whereabouts));
  options.add(options_of(&flags->handoffs));
  command.run = [=, options = command.options] { return finish("mocker", options.with_flag(run_mocker(*flags))); };
  return command;
}

}  // namespace dynamo::apps
