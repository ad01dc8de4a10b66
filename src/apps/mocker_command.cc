// dynamo mocker: workers whose engine takes the time a device would and computes nothing. Everything else is real.
#include <fmt/format.h>

#include <fstream>
#include <memory>
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
#include "engine/local_generator.h"
#include "mocker/simulated_runner.h"
#include "transfer/shared_memory.h"
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
  discovery::Role role = discovery::Role::kAggregated;
  std::string transfer = "auto";
  std::string nixl_library;
};

// One simulated worker's engine, owned by the process.
struct Simulated {
  std::unique_ptr<engine::Engine> engine;
  std::shared_ptr<engine::LocalGenerator> generator;
  transfer::SharedMemory pool;                    // for hand-offs
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
  common.engine = flags.engine.worker.engine;
  TRY(common.bundle, worker::bundle_of(files, common.engine.block_tokens));
  const uint32_t wanted = common.engine.context_length ? common.engine.context_length : files.card.context_length;
  common.engine.kv_blocks = flags.blocks;
  common.engine.context_length = std::min(wanted, flags.blocks * common.engine.block_tokens);
  common.engine.vocab_size = files.card.vocab_size;
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
  if (flags.role != discovery::Role::kAggregated) {
    // A few bytes stand for each block's KV: what travels is real, though nobody reads it.
    const kv::KvLayout layout{.layers = 1, .kv_heads = 1, .head_dim = 2, .block_tokens = common.engine.block_tokens};
    TRY(out->pool, transfer::SharedMemory::create(common.engine.kv_blocks * layout.block_bytes()));
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
    transfer::PoolMemory pool;
    pool.data = out->pool.data();
    pool.bytes = out->pool.bytes();
    pool.fd = out->pool.fd();
    auto started =
        worker::HandoffHost::start(std::move(options), engine, pool, layout, common.engine.kv_blocks, io, metrics);
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
  TRY_STATUS(find_model(&flags.engine));
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
  options.role = flags.role;
  std::vector<Simulated> engines(flags.workers);
  std::vector<std::unique_ptr<worker::WorkerNode>> nodes;
  const auto stop_all = [&](Time until) {
    for (const auto& node : nodes) node->stop(until);
    for (const Simulated& one : engines)
      if (one.engine) one.engine->stop(Clock::steady().now());
  };
  const Time until = Clock::steady().now() + flags.planes.startup_timeout;
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
  options.add("--disaggregation-mode", role_value(&flags->role), "aggregated, prefill or decode");
  options.add("--disaggregation-transfer-backend", one_of(&flags->transfer, {"auto", "shm", "tcp", "nixl"}),
              "How KV blocks travel between prefill and decode workers: auto, shm, tcp or nixl");
  options.add("--nixl-lib", text(&flags->nixl_library), "Path of libnixl_capi.so");
  command.run = [=, options = command.options] { return finish("mocker", options.with_flag(run_mocker(*flags))); };
  return command;
}

}  // namespace dynamo::apps
