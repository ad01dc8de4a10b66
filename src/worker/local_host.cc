#include "worker/local_host.h"

#include <algorithm>
#include <utility>

#include "engine/local_generator.h"

namespace dynamo::worker {
namespace {

class LocalHost final : public EngineHost {
 public:
  LocalHost(OpenLocalEngine open, std::optional<handoff::PartOptions> handoffs, IoThreads* io, Metrics* metrics)
      : open_(std::move(open)), options_(std::move(handoffs)), io_(io), metrics_(metrics) {}

  Status start(const std::string& name, kv::KvEventSink* events, const LoadProgress& progress) override {
    TRY(LocalEngine opened, open_(name, events, progress));
    owner_ = std::move(opened.owner);
    engine_ = opened.engine.engine;
    spec_.model = std::move(opened.model);
    spec_.model_bundle = std::move(opened.model_bundle);
    spec_.block_tokens = opened.options.block_tokens;
    spec_.max_batch_tokens = opened.options.max_batch_tokens;
    spec_.max_sequences = std::min(opened.options.max_sequences, opened.options.max_batch_tokens);
    spec_.context_length = opened.options.context_length;
    engine::LocalGenerator::SourceOf source_of;
    if (options_) {
      auto started = handoff::BothSides::start(*options_, std::move(opened.engine), name, io_, metrics_);
      if (!started.is_ok()) return started.status().with("handoffs");
      handoffs_ = std::move(started).value();
      spec_.transfer = handoffs_->backends();
      spec_.roles = {discovery::Role::kAggregated, discovery::Role::kPrefill, discovery::Role::kDecode};
      source_of = [handoffs = handoffs_.get()](const GenerateRequest& request) { return handoffs->source_of(request); };
    }
    generator_ = std::make_shared<engine::LocalGenerator>(engine_, name, std::move(source_of));
    return {};
  }
  const EngineSpec& spec() const override { return spec_; }

  std::shared_ptr<Generator> generator() const override { return generator_; }
  HostLoad load() const override { return {engine_->load(), handoffs_ ? handoffs_->transfer_tokens_per_second() : 0}; }
  void clear_cache() override { engine_->clear_cache(); }

  Task<Result<PrefillReport>> prefill(PrefillOrder order) override {
    if (!handoffs_) co_return moves_no_blocks();
    co_return co_await handoffs_->answer(std::move(order));
  }

  void stop(Time until) override {
    if (engine_ != nullptr) engine_->stop(until);
  }

 private:
  OpenLocalEngine open_;
  std::optional<handoff::PartOptions> options_;  // of hand-offs
  IoThreads* io_;
  Metrics* metrics_;
  EngineSpec spec_;
  std::shared_ptr<const void> owner_;
  engine::Engine* engine_ = nullptr;
  std::unique_ptr<handoff::BothSides> handoffs_;  // null: none
  std::shared_ptr<Generator> generator_;
};

}  // namespace

std::unique_ptr<EngineHost> make_local_host(OpenLocalEngine open, std::optional<handoff::PartOptions> handoffs,
                                            IoThreads* io, Metrics* metrics) {
  return std::make_unique<LocalHost>(std::move(open), std::move(handoffs), io, metrics);
}

}  // namespace dynamo::worker
