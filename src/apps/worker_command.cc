// dynamo worker (and decode-worker): an engine with a model, announced to frontends.
#include <fmt/format.h>

#include <cstdio>

#include "apps/command.h"
#include "apps/engine_flags.h"
#include "apps/handoff_flags.h"
#include "apps/planes.h"
#include "apps/progress.h"
#include "apps/readiness.h"
#include "apps/status_server.h"
#include "apps/stop_signals.h"
#include "apps/whereabouts_flags.h"
#include "base/log.h"
#include "base/log_output.h"
#include "worker/worker_node.h"

namespace dynamo::apps {
namespace {

struct WorkerFlags {
  EngineFlags engine;
  PlaneFlags planes;
  WhereaboutsFlags whereabouts;
  uint16_t port = 0;
  uint32_t io_threads = 1;
  uint32_t drain_timeout = 30;
  std::string mode = "aggregated";
  std::string transfer;
  std::string nixl_library;
  uint32_t tp = 1;
  bool trusts_remote_code = false;
  bool skips_tokenizer = false;
  int ready_fd = kNobodyAsked;
};

void declare_flags(CLI::App* command, WorkerFlags* flags) {
  declare_engine_flags(command, &flags->engine);
  declare_plane_flags(command, &flags->planes);
  declare_whereabouts_flags(command, &flags->whereabouts);
  add_flag(command, "--port", flags->port, "Port to listen on for requests; 0 takes any free one")
      ->check(CLI::Range(0, 65535));
  add_flag(command, "--io-threads", flags->io_threads, "Threads for connections")->check(CLI::Range(1, 256));
  add_flag(command, "--drain-timeout", flags->drain_timeout,
           "Seconds that running requests get to finish after SIGINT or SIGTERM")
      ->check(CLI::Range(0, 86400));
  add_flag(command, "--disaggregation-mode", flags->mode, "aggregated, prefill or decode")
      ->check(CLI::IsMember({"aggregated", "prefill", "decode"}));
  add_flag(command, "--disaggregation-transfer-backend", flags->transfer,
           "How KV blocks travel between prefill and decode workers: auto (shm on one host; nixl between hosts "
           "that both have RDMA and NIXL; else tcp), shm, tcp or nixl")
      ->check(CLI::IsMember({"auto", "shm", "tcp", "nixl"}));
  add_flag(command, "--nixl-lib", flags->nixl_library,
           "Path of libnixl_capi.so; by default looked for in $NIXL_PREFIX and in the active Python's packages");
  add_flag(command, "--tp", flags->tp, "Tensor-parallel size; 1 is the only one yet")->check(CLI::Range(1, 1));
  command->add_flag("--trust-remote-code", flags->trusts_remote_code,
                    "Accepted for other systems' command lines; changes nothing");
  command->add_flag("--skip-tokenizer-init", flags->skips_tokenizer,
                    "Accepted for other systems' command lines; changes nothing");
  declare_ready_flag(command, &flags->ready_fd);
}

// The engine that the process owns, and what moves its blocks.
struct Hosted {
  std::unique_ptr<worker::ModelWorker> engine;
  std::unique_ptr<worker::HandoffHost> handoffs;  // null: aggregated
};

Result<worker::HostedEngine> make_engine(const WorkerFlags& flags, const std::string& name, kv::KvEventSink* events,
                                         Metrics* metrics, IoThreads* io, const worker::Whereabouts& whereabouts,
                                         Hosted* out) {
  TRY(worker::ModelFiles files, worker::open_model_files(flags.engine.model_path, flags.engine.served_model_name));
  TRY(std::string bundle, worker::bundle_of(files, flags.engine.worker.block_tokens));
  Progress progress("loading " + files.card.name);
  worker::WorkerOptions options = flags.engine.worker;
  options.name = name;
  options.shares_pool = flags.mode != "aggregated";
  const auto show = [&](double done) { progress.update(done); };
  TRY(out->engine, worker::ModelWorker::start(files, options, metrics, events, show));
  worker::ModelWorker* engine = out->engine.get();
  LOG(info, "engine ready", {"worker", name}, {"with", engine->description()});
  worker::HostedEngine hosted;
  if (flags.mode == "aggregated") {
    hosted.generator = engine->generator();
  } else {
    worker::HandoffOptions handoff;
    handoff.backend = flags.transfer.empty() ? "auto" : flags.transfer;
    handoff.nixl = nixl_library(flags.nixl_library);
    handoff.has_rdma = has_rdma();
    handoff.name = name;
    handoff.host = whereabouts.handoff_host;
    handoff.listen_host = whereabouts.listen_host;
    TRY(handoff.model_digest, worker::weights_digest(files));
    handoff.vocab_size = files.card.vocab_size;
    handoff.identity = {flags.planes.name_space, DYNAMO_VERSION, 0};
    auto started = worker::HandoffHost::start(std::move(handoff), engine->engine(), engine->pool(), engine->kv_layout(),
                                              engine->load().total_blocks, io, metrics);
    if (!started.is_ok()) return started.status().with("--disaggregation-transfer-backend");
    out->handoffs = std::move(started).value();
    serve_handoffs(out->handoffs.get(), &hosted);
    hosted.generator = engine->generator(
        [handoffs = out->handoffs.get()](const GenerateRequest& request) { return handoffs->source_of(request); });
  }
  hosted.load = [engine] { return engine->load(); };
  hosted.clear_blocks = [engine] { engine->clear_cache(); };
  hosted.renamed = [metrics, name](const std::string& now) { metrics->show_label("worker", name, now); };
  hosted.stop = [engine](Time until) { engine->stop(until); };
  hosted.model = files.card.name;
  hosted.model_bundle = std::move(bundle);
  hosted.block_tokens = options.block_tokens;
  hosted.max_batch_tokens = engine->options().max_batch_tokens;
  hosted.max_sequences = engine->options().max_sequences;
  hosted.context_length = engine->options().context_length;
  return hosted;
}

Status check(const WorkerFlags& flags) {
  if (flags.trusts_remote_code) LOG(info, "--trust-remote-code changes nothing here: no code comes with a model");
  if (flags.skips_tokenizer) LOG(info, "--skip-tokenizer-init changes nothing here: workers never tokenize");
  if (!flags.transfer.empty() && flags.mode == "aggregated")
    LOG(info, "--disaggregation-transfer-backend changes nothing for a worker that does both",
        {"backend", flags.transfer});
  return {};
}

Status run_worker(WorkerFlags flags) {
  TRY_STATUS(check(flags));
  TRY_STATUS(complete(&flags.engine));
  const StopSignals signals;                            // before any thread starts
  std::optional<EndsWhileStarting> starting(&signals);  // a lease that it has then runs out
  Metrics metrics;
  TRY(Planes planes, open_planes(flags.planes));
  show_planes(planes, &metrics);
  log::show_metrics(&metrics);
  IoThreads io(flags.io_threads);
  worker::NodeOptions options;
  options.name_space = flags.planes.name_space;
  TRY(const worker::Whereabouts whereabouts, whereabouts_of(flags.whereabouts, planes));
  options.listen_host = whereabouts.listen_host;
  options.port = flags.port;
  options.announced_host = whereabouts.announced_host;
  options.version = DYNAMO_VERSION;
  options.role = role_of(flags.mode);
  Hosted hosted;
  const Time until = Clock::steady().now() + std::chrono::hours(1);  // loading a large model takes its time
  auto node = worker::WorkerNode::start(options, planes.registry, planes.bus.get(), &io, until,
                                        [&](const std::string& name, kv::KvEventSink* events) {
                                          return make_engine(flags, name, events, &metrics, &io, whereabouts, &hosted);
                                        });
  if (!node.is_ok()) {
    if (hosted.engine) hosted.engine->stop(Clock::steady().now());
    io.stop();
    return node.status();
  }
  auto status = start_status_server(flags.whereabouts, whereabouts.listen_host, &metrics, &io);
  if (!status.is_ok()) {
    (*node)->stop(Clock::steady().now());
    return status.status();
  }
  const discovery::WorkerInstance& instance = (*node)->instance();
  LOG(info, "worker ready", {"worker", instance.name}, {"instance", discovery::instance_text(instance.instance)},
      {"role", discovery::role_name(instance.role)}, {"model", instance.model}, {"address", instance.address},
      {"transfer", instance.transfer.empty() ? "none" : instance.transfer},
      {"system_port", *status ? std::to_string((*status)->port()) : "none"});
  starting.reset();
  tell_ready(flags.ready_fd, instance.name);
  const int signal = signals.wait();
  signals.release();
  LOG(info, "stopping: running requests may finish", {"signal", signal},
      {"within", fmt::format("{} s", flags.drain_timeout)});
  (*node)->stop(Clock::steady().now() + std::chrono::seconds(flags.drain_timeout));
  if (*status) (*status)->stop(Clock::steady().now());
  io.stop();  // before what its coroutines use goes
  LOG(info, "stopped");
  return {};
}

void add_command(CLI::App* app, Run* run, const char* name, const char* meaning, const char* mode) {
  CLI::App* command = app->add_subcommand(name, meaning);
  auto flags = std::make_shared<WorkerFlags>();
  flags->mode = mode;
  declare_flags(command, flags.get());
  command->callback([=] { *run = [=] { return finish(name, run_worker(*flags)); }; });
}

}  // namespace

void add_worker_commands(CLI::App* app, Run* run) {
  add_command(app, run, "worker", "Run a model and announce it to frontends", "aggregated");
  add_command(app, run, "decode-worker", "The same as worker --disaggregation-mode decode", "decode");
}

}  // namespace dynamo::apps
