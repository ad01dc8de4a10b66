// dynamo mocker: workers whose engine takes the time a device would and computes nothing. Everything else is real.
#include <fmt/format.h>

#include <cstdio>
#include <fstream>
#include <sstream>
#include <thread>

#include "apps/command.h"
#include "apps/engine_flags.h"
#include "apps/handoff_flags.h"
#include "apps/planes.h"
#include "apps/status_server.h"
#include "apps/stop_signals.h"
#include "apps/whereabouts_flags.h"
#include "base/log.h"
#include "base/log_output.h"
#include "base/shared_memory.h"
#include "engine/local_generator.h"
#include "mocker/simulated_runner.h"
#include "worker/model_files.h"
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
  std::string mode = "aggregated";
  std::string transfer = "auto";
  std::string nixl_library;
};

// One simulated worker's engine, owned by the process.
struct Simulated {
  std::unique_ptr<engine::Engine> engine;
  std::shared_ptr<engine::LocalGenerator> generator;
  SharedMemory pool;                              // for hand-offs
  std::unique_ptr<worker::HandoffHost> handoffs;  // null: aggregated
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

struct Common {
  std::string model;
  std::string bundle;
  engine::EngineOptions engine;
  mocker::SimulationOptions simulation;
};

Result<Common> prepare(const MockerFlags& flags) {
  Common common;
  TRY(common.simulation.profile, read_profile(flags.profile));
  TRY(worker::ModelFiles files,
      worker::open_model_files(flags.engine.model_path, flags.engine.served_model_name, model::Weights::kIfThere));
  common.model = files.card.name;
  TRY(common.bundle, worker::bundle_of(files, flags.engine.worker.block_tokens));
  const uint32_t wanted =
      flags.engine.worker.context_length ? flags.engine.worker.context_length : files.card.context_length;
  common.engine = {.block_tokens = flags.engine.worker.block_tokens,
                   .kv_blocks = flags.blocks,
                   .context_length = std::min(wanted, flags.blocks * flags.engine.worker.block_tokens),
                   .vocab_size = files.card.vocab_size,
                   .max_waiting = flags.engine.worker.max_waiting};
  if (flags.engine.worker.max_batch_tokens > 0) common.engine.max_batch_tokens = flags.engine.worker.max_batch_tokens;
  if (flags.engine.worker.max_sequences > 0) common.engine.max_sequences = flags.engine.worker.max_sequences;
  common.simulation.speedup = flags.speedup;
  // Ordinary tokens of byte-level vocabularies: after the bytes and marks, before what is added at the end.
  common.simulation.first_token = std::min(1000U, files.card.vocab_size / 2);
  common.simulation.last_token = std::max(common.simulation.first_token + 1, files.card.vocab_size * 3 / 4);
  return common;
}

Result<worker::HostedEngine> make_engine(const MockerFlags& flags, const Common& common, const std::string& name,
                                         const worker::Whereabouts& whereabouts, kv::KvEventSink* events, IoThreads* io,
                                         Metrics* metrics, Simulated* out) {
  const auto sleep = [](std::chrono::nanoseconds time) { std::this_thread::sleep_for(time); };
  TRY(out->engine, engine::Engine::start(common.engine, mocker::make_simulated_runner(common.simulation, sleep),
                                         &Clock::steady(), events, metrics, {{"worker", name}}));
  engine::Engine* engine = out->engine.get();
  worker::HostedEngine hosted;
  engine::LocalGenerator::SourceOf source_of;
  if (flags.mode != "aggregated") {
    // A few bytes stand for each block's KV: what travels is real, though nobody reads it.
    const kv::KvLayout layout{.layers = 1, .kv_heads = 1, .head_dim = 2, .block_tokens = common.engine.block_tokens};
    TRY(out->pool, SharedMemory::create(common.engine.kv_blocks * layout.block_bytes()));
    worker::HandoffOptions options;
    options.backend = flags.transfer;
    options.nixl = nixl_library(flags.nixl_library);
    options.has_rdma = has_rdma();
    options.name = name;
    options.host = whereabouts.handoff_host;
    options.listen_host = whereabouts.listen_host;
    options.model_digest = "mock";
    options.vocab_size = common.engine.vocab_size;
    options.identity = {flags.planes.name_space, DYNAMO_VERSION, 0};
    auto started = worker::HandoffHost::start(std::move(options), engine, out->pool.memory(), layout,
                                              common.engine.kv_blocks, io, metrics);
    if (!started.is_ok()) return started.status().with("--disaggregation-transfer-backend");
    out->handoffs = std::move(started).value();
    serve_handoffs(out->handoffs.get(), &hosted);
    source_of = [handoffs = out->handoffs.get()](const GenerateRequest& request) {
      return handoffs->source_of(request);
    };
  }
  out->generator = std::make_shared<engine::LocalGenerator>(engine, name, std::move(source_of));
  hosted.generator = out->generator;
  hosted.load = [engine] { return engine->load(); };
  hosted.clear_blocks = [engine] { engine->clear_cache(); };
  hosted.renamed = [metrics, name](const std::string& now) { metrics->show_label("worker", name, now); };
  hosted.stop = [engine](Time until) { engine->stop(until); };
  hosted.model = common.model;
  hosted.model_bundle = common.bundle;
  hosted.block_tokens = common.engine.block_tokens;
  hosted.max_batch_tokens = common.engine.max_batch_tokens;
  hosted.max_sequences = std::min(common.engine.max_sequences, common.engine.max_batch_tokens);
  hosted.context_length = common.engine.context_length;
  return hosted;
}

Status run_mocker(MockerFlags flags) {
  TRY_STATUS(complete(&flags.engine));
  const StopSignals signals;  // before any thread starts
  std::optional<EndsWhileStarting> starting(&signals);
  TRY(const Common common, prepare(flags));
  Metrics metrics;
  TRY(Planes planes, open_planes(flags.planes));
  show_planes(planes, &metrics);
  log::show_metrics(&metrics);
  IoThreads io(1);
  worker::NodeOptions options;
  options.name_space = flags.planes.name_space;
  TRY(const worker::Whereabouts whereabouts, whereabouts_of(flags.whereabouts, planes));
  options.listen_host = whereabouts.listen_host;
  options.announced_host = whereabouts.announced_host;
  options.version = DYNAMO_VERSION;
  options.role = role_of(flags.mode);
  std::vector<Simulated> engines(flags.workers);
  std::vector<std::unique_ptr<worker::WorkerNode>> nodes;
  const auto stop_all = [&](Time until) {
    for (const auto& node : nodes) node->stop(until);
    for (const Simulated& one : engines)
      if (one.engine) one.engine->stop(Clock::steady().now());
  };
  const Time until = Clock::steady().now() + std::chrono::seconds(flags.planes.startup_timeout);
  for (uint32_t i = 0; i < flags.workers; ++i) {
    auto node = worker::WorkerNode::start(
        options, planes.registry, planes.bus.get(), &io, until, [&](const std::string& name, kv::KvEventSink* events) {
          return make_engine(flags, common, name, whereabouts, events, &io, &metrics, &engines[i]);
        });
    if (!node.is_ok()) {
      stop_all(Clock::steady().now());
      return node.status();
    }
    nodes.push_back(std::move(node).value());
  }
  auto status = start_status_server(flags.whereabouts, whereabouts.listen_host, &metrics, &io);
  if (!status.is_ok()) {
    stop_all(Clock::steady().now());
    return status.status();
  }
  LOG(info, "worker ready", {"mock_workers", nodes.size()}, {"model", common.model},
      {"system_port", *status ? std::to_string((*status)->port()) : "none"});
  starting.reset();
  signals.wait();
  signals.release();
  stop_all(Clock::steady().now());
  if (*status) (*status)->stop(Clock::steady().now());
  io.stop();  // before what its coroutines use goes
  LOG(info, "stopped");
  return {};
}

}  // namespace

void add_mocker_command(CLI::App* app, Run* run) {
  CLI::App* command = app->add_subcommand(
      "mocker",
      "Run simulated workers: real scheduling, cache, events and requests, made-up tokens in a device's time");
  auto flags = std::make_shared<MockerFlags>();
  declare_engine_flags(command, &flags->engine);
  declare_plane_flags(command, &flags->planes);
  add_flag(command, "--num-workers", flags->workers, "Workers in this process")->check(CLI::Range(1, 4096));
  add_flag(command, "--num-blocks", flags->blocks, "KV blocks of each worker's cache")->check(CLI::Range(1, 1 << 28));
  add_flag(command, "--speedup-ratio", flags->speedup, "How much faster than the profile says")
      ->check(CLI::Range(0.001, 1e9));
  add_flag(command, "--profile", flags->profile, "JSON file with the cost of a step (docs/mocker.md)");
  declare_whereabouts_flags(command, &flags->whereabouts);
  add_flag(command, "--disaggregation-mode", flags->mode, "aggregated, prefill or decode")
      ->check(CLI::IsMember({"aggregated", "prefill", "decode"}));
  add_flag(command, "--disaggregation-transfer-backend", flags->transfer,
           "How KV blocks travel between prefill and decode workers: auto, shm, tcp or nixl")
      ->check(CLI::IsMember({"auto", "shm", "tcp", "nixl"}));
  add_flag(command, "--nixl-lib", flags->nixl_library, "Path of libnixl_capi.so");
  command->callback([=] { *run = [=] { return finish("mocker", run_mocker(*flags)); }; });
}

}  // namespace dynamo::apps
