#include "worker/native_host.h"

#include <algorithm>
#include <utility>

#include "base/log.h"
#include "worker/model_files.h"

namespace dynamo::worker {
namespace {

class NativeHost final : public EngineHost {
 public:
  NativeHost(NativeHostOptions options, IoThreads* io, Metrics* metrics)
      : options_(std::move(options)), io_(io), metrics_(metrics) {}

  Status start(const std::string& name, kv::KvEventSink* events, const LoadProgress& progress) override {
    TRY(const ModelFiles files, open_model_files(options_.model_path, options_.served_model_name));
    options_.worker.name = name;
    options_.worker.shares_pool = options_.handoffs.has_value();
    TRY(spec_.model_bundle, bundle_of(files, options_.worker.engine.block_tokens));
    TRY(engine_, ModelWorker::start(files, options_.worker, metrics_, events, progress));
    LOG(info, "engine ready", {"worker", name}, {"with", engine_->description()});
    const engine::EngineOptions& served = engine_->options();
    spec_.model = files.card.name;
    spec_.block_tokens = served.block_tokens;
    spec_.max_batch_tokens = served.max_batch_tokens;
    spec_.max_sequences = std::min(served.max_sequences, served.max_batch_tokens);
    spec_.context_length = served.context_length;
    return options_.handoffs ? start_handoffs(files, name) : Status();
  }
  const EngineSpec& spec() const override { return spec_; }

  std::shared_ptr<Generator> generator() const override {
    if (!handoffs_) return engine_->generator();
    return engine_->generator(
        [handoffs = handoffs_.get()](const GenerateRequest& request) { return handoffs->source_of(request); });
  }
  HostLoad load() const override { return {engine_->load(), handoffs_ ? handoffs_->transfer_tokens_per_second() : 0}; }
  void clear_cache() override { engine_->clear_cache(); }

  Task<Result<PrefillReport>> prefill(PrefillOrder order) override {
    if (!handoffs_) co_return moves_no_blocks();
    co_return co_await handoffs_->answer(std::move(order));
  }

  void stop(Time until) override {
    if (engine_) engine_->stop(until);
  }

 private:
  Status start_handoffs(const ModelFiles& files, const std::string& name) {
    handoff::PartOfEngine of;
    of.engine = engine_->engine();
    of.pool = engine_->pool();
    of.layout = engine_->kv_layout();
    of.blocks = engine_->options().kv_blocks;
    TRY(of.model_digest, weights_digest(files));
    of.vocab_size = engine_->options().vocab_size;
    auto started = handoff::BothSides::start(*options_.handoffs, std::move(of), name, io_, metrics_);
    if (!started.is_ok()) return started.status().with("handoffs");
    handoffs_ = std::move(started).value();
    spec_.transfer = handoffs_->backends();
    spec_.roles = {discovery::Role::kAggregated, discovery::Role::kPrefill, discovery::Role::kDecode};
    return {};
  }

  NativeHostOptions options_;
  IoThreads* io_;
  Metrics* metrics_;
  EngineSpec spec_;
  std::unique_ptr<ModelWorker> engine_;
  std::unique_ptr<handoff::BothSides> handoffs_;  // null: none
};

}  // namespace

std::unique_ptr<EngineHost> make_native_host(NativeHostOptions options, IoThreads* io, Metrics* metrics) {
  return std::make_unique<NativeHost>(std::move(options), io, metrics);
}

}  // namespace dynamo::worker
