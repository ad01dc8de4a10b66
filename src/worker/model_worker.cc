#include "worker/model_worker.h"

#include <algorithm>

#include <fmt/format.h>

#include "engine/model_runner.h"
#include "model/decoder.h"
#include "worker/pool_size.h"

namespace dynamo::worker {
namespace {

constexpr uint64_t kMiB = 1ULL << 20;

}  // namespace

// In order of construction: each uses those above it.
struct ModelWorker::State {
  std::unique_ptr<kernels::Backend> backend;
  std::unique_ptr<model::Decoder> decoder;
  std::unique_ptr<engine::Engine> engine;
  engine::EngineOptions options;
  std::string name;
};

ModelWorker::ModelWorker(std::unique_ptr<State> state) : state_(std::move(state)) {}
ModelWorker::~ModelWorker() = default;

Result<std::unique_ptr<ModelWorker>> ModelWorker::start(const ModelFiles& files, WorkerOptions options,
                                                        Metrics* metrics, kv::KvEventSink* events,
                                                        const std::function<void(double)>& progress) {
  engine::EngineOptions& engine = options.engine;
  TRY_STATUS(kv::check_block_tokens(engine.block_tokens));
  const model::ModelConfig& config = files.source->config();
  auto state = std::make_unique<State>();
  state->name = options.name;
  TRY(state->backend, kernels::make_backend(options.backend));
  const kernels::Traits& traits = state->backend->traits();
  const auto size_pool = [&] {
    return pool_size(
        {.bytes = options.kv_cache_bytes, .context_length = engine.context_length, .block_tokens = engine.block_tokens},
        config.context_length, model::kv_layout_of(config, traits, engine.block_tokens).block_bytes(),
        state->backend->free_bytes());
  };
  TRY_STATUS(size_pool());  // what cannot be is told before the weights are read
  TRY(model::DecoderWeights weights, model::load_weights(*files.source, state->backend.get(), progress));
  TRY(const PoolSize pool, size_pool());
  engine.kv_blocks = pool.blocks;
  engine.context_length = pool.context_length;
  engine.vocab_size = config.vocab_size;
  if (engine.max_batch_tokens == 0) engine.max_batch_tokens = traits.max_batch_tokens;
  if (engine.max_sequences == 0) engine.max_sequences = traits.max_sequences;
  engine.max_sequences = std::min(engine.max_sequences, engine.max_batch_tokens);
  state->options = engine;
  TRY(state->decoder, model::Decoder::create(std::move(weights), state->backend.get(),
                                             {.block_tokens = engine.block_tokens,
                                              .kv_blocks = engine.kv_blocks,
                                              .max_rows = engine.max_batch_tokens,
                                              .max_draws = engine.max_sequences,
                                              .context_length = engine.context_length,
                                              .kv_sharing = options.shares_pool ? kernels::Sharing::kShared
                                                                                : kernels::Sharing::kPrivate}));
  TRY(state->engine, engine::Engine::start(engine, engine::make_model_runner(state->decoder.get()), &Clock::steady(),
                                           events, metrics, {{"worker", options.name}}));
  return std::unique_ptr<ModelWorker>(new ModelWorker(std::move(state)));
}

std::shared_ptr<Generator> ModelWorker::generator(engine::LocalGenerator::SourceOf source_of) const {
  return std::make_shared<engine::LocalGenerator>(state_->engine.get(), state_->name, std::move(source_of));
}
engine::Engine* ModelWorker::engine() const {
  return state_->engine.get();
}
const kv::KvLayout& ModelWorker::kv_layout() const {
  return state_->decoder->kv_layout();
}
transfer::PoolMemory ModelWorker::pool() const {
  return state_->decoder->kv_pool().memory();
}
const engine::EngineOptions& ModelWorker::options() const {
  return state_->options;
}
void ModelWorker::clear_cache() {
  state_->engine->clear_cache();
}
engine::EngineLoad ModelWorker::load() const {
  return state_->engine->load();
}

std::string ModelWorker::description() const {
  const kv::KvLayout& layout = state_->decoder->kv_layout();
  return fmt::format("{}; KV {} tokens, {} MiB; weights {} MiB", state_->backend->traits().name,
                     uint64_t{state_->options.kv_blocks} * layout.block_tokens,
                     state_->decoder->kv_pool().bytes() / kMiB, state_->decoder->weight_bytes() / kMiB);
}

void ModelWorker::stop(Time until) {
  state_->engine->stop(until);
}

}  // namespace dynamo::worker
