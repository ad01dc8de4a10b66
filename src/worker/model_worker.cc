#include "worker/model_worker.h"

#include <algorithm>

#include <fmt/format.h>

#include "engine/model_runner.h"
#include "model/decoder.h"

namespace dynamo::worker {
namespace {

constexpr uint64_t kMiB = 1ULL << 20;
constexpr uint64_t kDefaultCacheBytes = 256 * kMiB;
constexpr uint32_t kDefaultContext = 8192;

uint32_t divide_up(uint32_t value, uint32_t by) {
  return (value + by - 1) / by;
}

// Blocks of the KV pool. Errors: kInvalid when the cache asked for has no room for two blocks.
Result<uint32_t> pool_blocks(const model::ModelConfig& config, const WorkerOptions& options, uint64_t block_bytes) {
  if (options.kv_cache_bytes == 0) {
    const uint32_t context =
        std::min(options.context_length ? options.context_length : config.context_length, kDefaultContext);
    return static_cast<uint32_t>(
        std::max<uint64_t>(kDefaultCacheBytes / block_bytes, divide_up(context, options.block_tokens) + 1));
  }
  const uint64_t blocks = options.kv_cache_bytes / block_bytes;
  if (blocks < 2 || blocks > UINT32_MAX) {
    return invalid(
        fmt::format("--kv-cache-mib {}: a KV block of this model takes {} bytes; room for at least 2 blocks is needed",
                    options.kv_cache_bytes / kMiB, block_bytes));
  }
  return static_cast<uint32_t>(blocks);
}

Result<uint32_t> served_context(const model::ModelConfig& config, const WorkerOptions& options, uint32_t blocks) {
  if (options.context_length > config.context_length) {
    return invalid(fmt::format("--context-length {}: the model was made for at most {} tokens", options.context_length,
                               config.context_length));
  }
  const uint32_t wanted = options.context_length ? options.context_length : config.context_length;
  return static_cast<uint32_t>(std::min<uint64_t>(wanted, uint64_t{blocks} * options.block_tokens));
}

}  // namespace

// In order of construction: each uses those above it.
struct ModelWorker::State {
  std::unique_ptr<kernels::Backend> backend;
  std::unique_ptr<model::Decoder> decoder;
  std::unique_ptr<engine::Engine> engine;
  std::string name;
  uint32_t context_length = 0;
  uint32_t blocks = 0;
};

ModelWorker::ModelWorker(std::unique_ptr<State> state) : state_(std::move(state)) {}
ModelWorker::~ModelWorker() = default;

Result<std::unique_ptr<ModelWorker>> ModelWorker::start(const ModelFiles& files, WorkerOptions options,
                                                        Metrics* metrics, kv::KvEventSink* events,
                                                        const std::function<void(double)>& progress) {
  if (options.block_tokens < 1 || options.block_tokens > 256) {
    return invalid(fmt::format("--page-size {}: must be in [1, 256]", options.block_tokens));
  }
  const model::ModelConfig& config = files.source->config();
  auto state = std::make_unique<State>();
  TRY(state->backend, kernels::make_backend(options.backend));
  const kv::KvLayout layout = model::kv_layout_of(config, state->backend->traits(), options.block_tokens);
  TRY(state->blocks, pool_blocks(config, options, layout.block_bytes()));
  TRY(state->context_length, served_context(config, options, state->blocks));
  state->name = options.name;
  const model::DecoderOptions decoder_options{
      .block_tokens = options.block_tokens,
      .kv_blocks = state->blocks,
      .max_rows = options.max_batch_tokens,
      .max_draws = std::min(options.max_sequences, options.max_batch_tokens),
      .context_length = state->context_length,
      .kv_sharing = options.shares_pool ? kernels::Sharing::kShared : kernels::Sharing::kPrivate};
  TRY(model::DecoderWeights weights, model::load_weights(*files.source, state->backend.get(), progress));
  TRY(state->decoder, model::Decoder::create(std::move(weights), state->backend.get(), decoder_options));
  const engine::EngineOptions engine_options{.block_tokens = options.block_tokens,
                                             .kv_blocks = state->blocks,
                                             .context_length = state->context_length,
                                             .vocab_size = config.vocab_size,
                                             .max_batch_tokens = options.max_batch_tokens,
                                             .max_sequences = options.max_sequences,
                                             .max_waiting = options.max_waiting};
  TRY(state->engine, engine::Engine::start(engine_options, engine::make_model_runner(state->decoder.get()),
                                           &Clock::steady(), events, metrics, {{"worker", options.name}}));
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
uint32_t ModelWorker::context_length() const {
  return state_->context_length;
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
                     uint64_t{state_->blocks} * layout.block_tokens, state_->blocks * layout.block_bytes() / kMiB,
                     state_->decoder->weight_bytes() / kMiB);
}

void ModelWorker::stop(Time until) {
  state_->engine->stop(until);
}

}  // namespace dynamo::worker
