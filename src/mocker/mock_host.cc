#include "mocker/mock_host.h"

#include <algorithm>
#include <thread>
#include <utility>

#include "base/shared_memory.h"
#include "worker/local_host.h"
#include "worker/model_files.h"

namespace dynamo::mocker {
namespace {

// Ordinary tokens of byte-level vocabularies: after the bytes and marks, before what is added at the end.
SimulationOptions simulation_of(const MockHostOptions& options) {
  SimulationOptions out;
  out.profile = options.profile;
  out.speedup = options.speedup;
  out.first_token = std::min(1000U, options.engine.vocab_size / 2);
  out.last_token = std::max(out.first_token + 1, options.engine.vocab_size * 3 / 4);
  return out;
}

// The engine, and a pool for hand-offs in which nobody reads.
struct Mock {
  SharedMemory pool;
  std::unique_ptr<engine::Engine> engine;
};

Result<worker::LocalEngine> open_mock(const MockHostOptions& options, const std::string& name, Metrics* metrics,
                                      kv::KvEventSink* events, const worker::LoadProgress& progress) {
  const auto sleep = [](std::chrono::nanoseconds time) { std::this_thread::sleep_for(time); };
  const auto mock = std::make_shared<Mock>();
  worker::LocalEngine out;
  out.model = options.model;
  out.model_bundle = options.model_bundle;
  out.options = options.engine;
  if (options.handoffs) {
    out.engine.layout = {.layers = 1, .kv_heads = 1, .head_dim = 2, .block_tokens = options.engine.block_tokens};
    out.engine.blocks = options.engine.kv_blocks;
    TRY(mock->pool, SharedMemory::create(out.engine.blocks * out.engine.layout.block_bytes()));
    out.engine.pool = mock->pool.memory();
    out.engine.model_digest = "mock";
    out.engine.vocab_size = options.engine.vocab_size;
  }
  TRY(mock->engine, engine::Engine::start(options.engine, make_simulated_runner(simulation_of(options), sleep),
                                          &Clock::steady(), events, metrics, {{"worker", name}}));
  out.engine.engine = mock->engine.get();
  out.owner = mock;
  progress(1);
  return out;
}

}  // namespace

Result<MockHostOptions> mock_of(const std::string& model_path, const std::string& served_name,
                                engine::EngineOptions engine) {
  TRY(const worker::ModelFiles files, worker::open_model_files(model_path, served_name, model::Weights::kIfThere));
  MockHostOptions out;
  out.model = files.card.name;
  TRY(out.model_bundle, worker::bundle_of(files, engine.block_tokens));
  const uint64_t room = uint64_t{engine.kv_blocks} * engine.block_tokens;
  const uint32_t wanted = engine.context_length ? engine.context_length : files.card.context_length;
  engine.context_length = static_cast<uint32_t>(std::min<uint64_t>(wanted, room));
  engine.vocab_size = files.card.vocab_size;
  const engine::EngineOptions usual;
  if (engine.max_batch_tokens == 0) engine.max_batch_tokens = usual.max_batch_tokens;
  if (engine.max_sequences == 0) engine.max_sequences = usual.max_sequences;
  out.engine = engine;
  return out;
}

std::unique_ptr<worker::EngineHost> make_mock_host(MockHostOptions options, IoThreads* io, Metrics* metrics) {
  auto handoffs = options.handoffs;
  auto open = [options = std::move(options), metrics](const std::string& name, kv::KvEventSink* events,
                                                      const worker::LoadProgress& progress) {
    return open_mock(options, name, metrics, events, progress);
  };
  return worker::make_local_host(std::move(open), std::move(handoffs), io, metrics);
}

}  // namespace dynamo::mocker
