// dynamo worker (and decode-worker): an engine with a model, announced to frontends.
#include <fmt/format.h>

#include <memory>

#include "apps/command.h"
#include "apps/engine_flags.h"
#include "apps/handoff_flags.h"
#include "apps/library_places.h"
#include "apps/listen_flags.h"
#include "apps/node_options.h"
#include "apps/planes.h"
#include "apps/progress.h"
#include "apps/readiness.h"
#include "apps/status_server.h"
#include "apps/stop_signals.h"
#include "apps/whereabouts_flags.h"
#include "base/instance_id.h"
#include "base/log.h"
#include "base/log_output.h"
#include "worker/native_host.h"
#include "worker/worker_node.h"

namespace dynamo::apps {
namespace {

struct WorkerFlags {
  EngineFlags engine;
  PlaneFlags planes;
  WhereaboutsFlags whereabouts;
  uint16_t port = 0;
  uint32_t io_threads = 1;
  std::chrono::seconds drain_timeout{30};
  HandoffFlags handoffs;
  uint32_t tp = 1;
  bool trusts_remote_code = false;
  bool skips_tokenizer = false;
  int ready_fd = kNobodyAsked;
};

OptionSet options_of(WorkerFlags* flags) {
  OptionSet options;
  options.add(options_of(&flags->engine));
  options.add(options_of(&flags->planes));
  options.add(options_of(&flags->whereabouts));
  options.add("--port", number(&flags->port), "Port to listen on for requests; 0 takes any free one");
  options.add("--io-threads", number(&flags->io_threads, 1U, 256U), "Threads for connections");
  options.add("--drain-timeout", seconds(&flags->drain_timeout, 0, 86400),
              "Seconds that running requests get to finish after SIGINT or SIGTERM");
  options.add(options_of(&flags->handoffs));
  options.add("--tp", number(&flags->tp, 1U, 1U), "Tensor-parallel size; 1 is the only one yet");
  options
      .add("--trust-remote-code", on_or_off(&flags->trusts_remote_code),
           "Accepted for other systems' command lines; changes nothing")
      .without_variable();
  options
      .add("--skip-tokenizer-init", on_or_off(&flags->skips_tokenizer),
           "Accepted for other systems' command lines; changes nothing")
      .without_variable();
  add_ready_option(&flags->ready_fd, &options);
  return options;
}

void note_ignored_flags(const WorkerFlags& flags) {
  if (flags.trusts_remote_code) LOG(info, "--trust-remote-code changes nothing here: no code comes with a model");
  if (flags.skips_tokenizer) LOG(info, "--skip-tokenizer-init changes nothing here: workers never tokenize");
  if (!flags.handoffs.backend.empty() && flags.handoffs.role == discovery::Role::kAggregated)
    LOG(info, "--disaggregation-transfer-backend changes nothing for a worker that does both",
        {"backend", flags.handoffs.backend});
}

// The one place that chooses which engine a worker hosts.
std::unique_ptr<worker::EngineHost> make_host(const WorkerFlags& flags, const worker::Whereabouts& whereabouts,
                                              IoThreads* io, Metrics* metrics) {
  worker::NativeHostOptions options;
  options.model_path = flags.engine.model_path;
  options.served_model_name = flags.engine.served_model_name;
  options.worker = flags.engine.worker;
  options.worker.backend.cuda_folders = cuda_folders();
  options.handoffs = part_of(flags.handoffs, flags.planes, whereabouts);
  return worker::make_native_host(std::move(options), io, metrics);
}

Status run_worker(WorkerFlags flags) {
  note_ignored_flags(flags);
  TRY_STATUS(find_model(&flags.engine));
  const StopSignals signals;                            // before any thread starts
  std::optional<EndsWhileStarting> starting(&signals);  // a lease that it has then runs out
  Metrics metrics;
  TRY(Planes planes, open_planes(flags.planes));
  show_planes(planes, &metrics);
  log::show_metrics(&metrics);
  IoThreads io(flags.io_threads);
  TRY(const worker::Whereabouts whereabouts, whereabouts_of(flags.whereabouts, planes));
  const auto host = make_host(flags, whereabouts, &io, &metrics);
  worker::NodeOptions options = node_options(flags.planes, whereabouts, flags.handoffs.role, &metrics);
  options.port = flags.port;
  options.on_renamed = [&, show_name = options.on_renamed](const std::string& first, const std::string& now) {
    show_name(first, now);
    tell_ready(flags.ready_fd, now, "");
  };
  auto listening = worker::WorkerNode::listen(std::move(options), &io);
  if (!listening.is_ok()) return with_flag(listening.status(), {"--host", "--port"});
  const auto node = std::move(listening).value();
  Progress progress("loading " + flags.engine.model_path);
  const Time until = Clock::steady().now() + std::chrono::hours(1);  // loading a large model takes its time
  Status status =
      node->start(planes.registry, planes.bus.get(), host.get(), [&](double done) { progress.update(done); }, until);
  std::unique_ptr<http::Server> system;
  if (status.is_ok()) status = start_status_server(flags.whereabouts, whereabouts.listen_host, &metrics, &io, &system);
  if (!status.is_ok()) {
    node->stop(Clock::steady().now());
    io.stop();  // before what its coroutines use goes
    return status;
  }
  const discovery::WorkerInstance instance = node->instance();
  tell_ready(flags.ready_fd, instance.name, instance.address);
  LOG(info, "worker ready", {"worker", instance.name}, {"instance", instance_text(instance.instance)},
      {"role", discovery::role_name(instance.role)}, {"model", instance.model}, {"address", instance.address},
      {"transfer", instance.transfer.empty() ? "none" : instance.transfer},
      {"system_port", system ? std::to_string(system->port()) : "none"});
  starting.reset();
  const int signal = signals.wait();
  signals.release();
  LOG(info, "stopping: running requests may finish", {"signal", signal},
      {"within", fmt::format("{} s", flags.drain_timeout.count())});
  node->stop(Clock::steady().now() + flags.drain_timeout);
  if (system) system->stop(Clock::steady().now());
  io.stop();  // before what its coroutines use goes
  LOG(info, "stopped");
  return {};
}

Command make_command(const char* name, const char* meaning, discovery::Role role) {
  auto flags = std::make_shared<WorkerFlags>();
  flags->handoffs.role = role;
  Command command{.name = name, .meaning = meaning, .options = options_of(flags.get())};
  command.run = [=, options = command.options] { return finish(name, options.with_flag(run_worker(*flags))); };
  return command;
}

}  // namespace

Command worker_command() {
  return make_command("worker", "Run a model and announce it to frontends", discovery::Role::kAggregated);
}

Command decode_worker_command() {
  return make_command("decode-worker", "The same as worker --disaggregation-mode decode", discovery::Role::kDecode);
}

}  // namespace dynamo::apps
