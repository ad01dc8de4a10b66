#include "worker/model_worker.h"

#include <algorithm>

#include <fmt/format.h>

#include "engine/model_runner.h"
#include "model/decoder.h"
#include "transfer/shared_memory.h"

namespace dynamo::worker {
namespace {

constexpr uint64_t kMiB = 1ULL << 20;
constexpr uint64_t kDefaultCacheBytes = 256 * kMiB;
constexpr uint32_t kDefaultContext = 8192;

uint32_t divide_up(uint32_t value, uint32_t by) {
  return (value + by - 1) / by;
}

kv::KvLayout layout_of(const model::ModelConfig& config, const WorkerOptions& options) {
  return {.layers = config.layers,
          .kv_heads = config.kv_heads,
          .head_dim = config.head_dim,
          .block_tokens = options.engine.block_tokens,
          .dtype = kv::KvDtype::kF16};
}

// Blocks of the KV pool. Errors: kInvalid when the cache asked for has no room for two blocks.
Result<uint32_t> pool_blocks(const model::ModelConfig& config, const WorkerOptions& options) {
  const uint64_t block_bytes = layout_of(config, options).block_bytes();
  if (options.kv_cache_bytes == 0) {
    const uint32_t wanted = options.engine.context_length;
    const uint32_t context = std::min(wanted ? wanted : config.context_length, kDefaultContext);
    return static_cast<uint32_t>(
        std::max<uint64_t>(kDefaultCacheBytes / block_bytes, divide_up(context, options.engine.block_tokens) + 1));
  }
  const uint64_t blocks = options.kv_cache_bytes / block_bytes;
  if (blocks < 2 || blocks > UINT32_MAX) {
    return invalid(fmt::format(
        "kv_cache_bytes {} ({} MiB): a KV block of this model takes {} bytes; room for at least 2 blocks is needed",
        options.kv_cache_bytes, options.kv_cache_bytes / kMiB, block_bytes));
  }
  return static_cast<uint32_t>(blocks);
}

Result<uint32_t> served_context(const model::ModelConfig& config, const engine::EngineOptions& options,
                                uint32_t blocks) {
  if (options.context_length > config.context_length) {
    return invalid(fmt::format("context_length {}: the model was made for at most {} tokens", options.context_length,
                               config.context_length));
  }
  const uint32_t wanted = options.context_length ? options.context_length : config.context_length;
  return static_cast<uint32_t>(std::min<uint64_t>(wanted, uint64_t{blocks} * options.block_tokens));
}

}  // namespace

// In order of construction: each uses those above it.
struct ModelWorker::State {
  std::unique_ptr<kernels::Backend> backend;
  transfer::SharedMemory pool;  // if it is shared
  std::unique_ptr<model::Decoder> decoder;
  std::unique_ptr<engine::Engine> engine;
  std::string name;
  engine::EngineOptions options;
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
  TRY(engine.kv_blocks, pool_blocks(config, options));
  TRY(engine.context_length, served_context(config, engine, engine.kv_blocks));
  engine.vocab_size = config.vocab_size;
  TRY(state->backend, kernels::make_cpu_backend(options.cpu));
  state->name = options.name;
  state->options = engine;
  model::DecoderOptions decoder_options{.block_tokens = engine.block_tokens,
                                        .kv_blocks = engine.kv_blocks,
                                        .max_rows = engine.max_batch_tokens,
                                        .max_logits_rows = std::min(engine.max_sequences, engine.max_batch_tokens),
                                        .context_length = engine.context_length,
                                        .kv_dtype = kv::KvDtype::kF16,
                                        .kv_memory = {}};
  if (options.shares_pool) {
    TRY(state->pool, transfer::SharedMemory::create(engine.kv_blocks * layout_of(config, options).block_bytes()));
    decoder_options.kv_memory = {state->pool.data(), state->pool.bytes()};
  }
  TRY(state->decoder, model::Decoder::create(*files.source, state->backend.get(), decoder_options, progress));
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
  transfer::PoolMemory pool;
  pool.data = state_->pool.data();
  pool.bytes = state_->pool.bytes();
  pool.fd = state_->pool.fd();
  return pool;
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
  return fmt::format("{}; KV {} tokens, {} MiB; weights {} MiB", state_->backend->name(),
                     uint64_t{state_->options.kv_blocks} * layout.block_tokens,
                     state_->options.kv_blocks * layout.block_bytes() / kMiB, state_->decoder->weight_bytes() / kMiB);
}

void ModelWorker::stop(Time until) {
  state_->engine->stop(until);
}

}  // namespace dynamo::worker
