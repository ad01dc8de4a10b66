// What the engine itself costs per step, with a runner that computes nothing: microseconds for a step in which every
// sequence decodes. Arguments: sequences, tokens before, steps under way.
#include <deque>

#include <benchmark/benchmark.h>

#include "engine/engine_core.h"

namespace dynamo::engine {
namespace {

struct NullSink final : ChunkSink {
  void on_chunk(TokenChunk) override {}
  void on_failure(Status) override {}
  void on_sign_of_life() override {}
};

class NullRunner final : public StepRunner {
 public:
  explicit NullRunner(uint32_t depth) : depth_(depth) {}
  uint32_t depth() const override { return depth_; }
  Status begin(const kernels::Step& step) override {
    draws_.push_back(step.draws.size());
    return {};
  }
  Result<std::vector<Result<DrawnToken>>> finish() override {
    std::vector<Result<DrawnToken>> drawn;
    drawn.reserve(draws_.front());
    for (size_t i = 0; i < draws_.front(); ++i) drawn.emplace_back(DrawnToken{7, {}});
    draws_.pop_front();
    return drawn;
  }

 private:
  uint32_t depth_;
  std::deque<size_t> draws_;
};

void BM_DecodeStep(benchmark::State& state) {
  const auto sequences = static_cast<uint32_t>(state.range(0));
  const auto context = static_cast<uint32_t>(state.range(1));
  Metrics metrics;
  const EngineOptions options{.block_tokens = 16,
                              .kv_blocks = sequences * (context + 4096) / 16,
                              .context_length = context + 1000000,
                              .vocab_size = 50000,
                              .max_batch_tokens = 65536,
                              .max_sequences = sequences};
  EngineCore core(options, std::make_unique<NullRunner>(static_cast<uint32_t>(state.range(2))), &Clock::steady(),
                  nullptr, &metrics, {});
  for (uint32_t i = 0; i < sequences; ++i) {
    GenerateRequest request;
    for (uint32_t t = 0; t < context; ++t) request.prompt.tokens.push_back((i * 31 + t * 7) % 50000);
    request.stop.max_tokens = 1000000;
    core.add(SequenceId{i + 1}, std::move(request), std::make_shared<NullSink>());
  }
  while (core.load().waiting > 0 || core.load().queued_tokens > 0) core.step();
  for (auto _ : state) core.step();
}
BENCHMARK(BM_DecodeStep)
    ->Args({16, 128, 1})
    ->Args({64, 1024, 1})
    ->Args({256, 128, 1})
    ->Args({256, 1024, 1})
    ->Args({256, 1024, 2})
    ->Iterations(2000)
    ->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace dynamo::engine
