#include "mocker/mock_host.h"

#include <algorithm>
#include <thread>
#include <utility>

#include "engine/local_generator.h"
#include "transfer/shared_memory.h"
#include "worker/model_files.h"

namespace dynamo::mocker {
namespace {

using discovery::Role;

// Ordinary tokens of byte-level vocabularies: after the bytes and marks, before what is added at the end.
SimulationOptions simulation_of(const MockHostOptions& options) {
  SimulationOptions out;
  out.profile = options.profile;
  out.speedup = options.speedup;
  out.first_token = std::min(1000U, options.engine.vocab_size / 2);
  out.last_token = std::max(out.first_token + 1, options.engine.vocab_size * 3 / 4);
  return out;
}

class MockHost final : public worker::EngineHost {
 public:
  MockHost(MockHostOptions options, IoThreads* io, Metrics* metrics)
      : options_(std::move(options)), io_(io), metrics_(metrics) {
    const engine::EngineOptions& engine = options_.engine;
    spec_.model = options_.model;
    spec_.model_bundle = options_.model_bundle;
    spec_.block_tokens = engine.block_tokens;
    spec_.max_batch_tokens = engine.max_batch_tokens;
    spec_.max_sequences = std::min(engine.max_sequences, engine.max_batch_tokens);
    spec_.context_length = engine.context_length;
  }

  Status start(const std::string& name, kv::KvEventSink* events, const worker::LoadProgress& progress) override {
    const auto sleep = [](std::chrono::nanoseconds time) { std::this_thread::sleep_for(time); };
    TRY(engine_, engine::Engine::start(options_.engine, make_simulated_runner(simulation_of(options_), sleep),
                                       &Clock::steady(), events, metrics_, {{"worker", name}}));
    if (options_.handoffs) TRY_STATUS(start_handoffs(name));
    engine::LocalGenerator::SourceOf source_of;
    if (handoffs_)
      source_of = [handoffs = handoffs_.get()](const GenerateRequest& request) { return handoffs->source_of(request); };
    generator_ = std::make_shared<engine::LocalGenerator>(engine_.get(), name, std::move(source_of));
    progress(1);
    return {};
  }
  const worker::EngineSpec& spec() const override { return spec_; }

  std::shared_ptr<Generator> generator() const override { return generator_; }
  worker::HostLoad load() const override {
    return {engine_->load(), handoffs_ ? handoffs_->transfer_tokens_per_second() : 0};
  }
  void clear_cache() override { engine_->clear_cache(); }

  Task<Result<PrefillReport>> prefill(PrefillOrder order) override {
    if (!handoffs_) co_return moves_no_blocks();
    co_return co_await handoffs_->answer(std::move(order));
  }

  void stop(Time until) override {
    if (engine_) engine_->stop(until);
  }

 private:
  Status start_handoffs(const std::string& name) {
    handoff::PartOfEngine of;
    of.engine = engine_.get();
    of.layout = {.layers = 1, .kv_heads = 1, .head_dim = 2, .block_tokens = options_.engine.block_tokens};
    of.blocks = options_.engine.kv_blocks;
    TRY(pool_, transfer::SharedMemory::create(of.blocks * of.layout.block_bytes()));
    of.pool.data = pool_.data();
    of.pool.bytes = pool_.bytes();
    of.pool.fd = pool_.fd();
    of.model_digest = "mock";
    of.vocab_size = options_.engine.vocab_size;
    auto started = handoff::BothSides::start(*options_.handoffs, std::move(of), name, io_, metrics_);
    if (!started.is_ok()) return started.status().with("handoffs");
    handoffs_ = std::move(started).value();
    spec_.transfer = handoffs_->backends();
    spec_.roles = {Role::kAggregated, Role::kPrefill, Role::kDecode};
    return {};
  }

  MockHostOptions options_;
  IoThreads* io_;
  Metrics* metrics_;
  worker::EngineSpec spec_;
  transfer::SharedMemory pool_;  // for hand-offs; nobody reads what is in it
  std::unique_ptr<engine::Engine> engine_;
  std::unique_ptr<handoff::BothSides> handoffs_;  // null: none
  std::shared_ptr<Generator> generator_;
};

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
  out.engine = engine;
  return out;
}

std::unique_ptr<worker::EngineHost> make_mock_host(MockHostOptions options, IoThreads* io, Metrics* metrics) {
  return std::make_unique<MockHost>(std::move(options), io, metrics);
}

}  // namespace dynamo::mocker
