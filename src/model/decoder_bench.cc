// Speed of the default model's decoder alone, without engine, sampler or server: items_per_second is tokens per second.
// Decode is one sequence, one token a step, after `context` tokens; prefill is a prompt of 512 tokens in one step.
#include <string>

#include <benchmark/benchmark.h>

#include "kernels/backend_factory.h"
#include "model/decoder.h"
#include "model/testing/run_decoder.h"
#include "model/testing/smollm2.h"

namespace dynamo::model {
namespace {

constexpr uint32_t kPrompt = 512;
constexpr uint32_t kAnswer = 128;
constexpr uint32_t kBlocks = 64;

// The model on one level of the CPU, all cores; loaded anew when another level is asked for.
struct Loaded {
  kernels::CpuLevel level;
  std::unique_ptr<kernels::Backend> backend;
  std::unique_ptr<Decoder> decoder;
};

Result<std::unique_ptr<Loaded>> load(kernels::CpuLevel level) {
  if (testing::smollm2_path().empty()) return not_found(testing::kSmolLm2Missing);
  TRY(const std::unique_ptr<ModelSource> source, open_model(testing::smollm2_path()));
  auto loaded = std::make_unique<Loaded>();
  loaded->level = level;
  TRY(loaded->backend, kernels::make_backend({.cpu_level = level}));
  TRY(loaded->decoder, testing::make_decoder(*source, loaded->backend.get(), {.kv_blocks = kBlocks}));
  return loaded;
}

// Null, with the reason told to `state`, if it cannot run here.
Decoder* decoder_for(benchmark::State& state) {
  const auto level = static_cast<kernels::CpuLevel>(state.range(0));
  static std::unique_ptr<Loaded> loaded;
  if (!loaded || loaded->level != level) {
    loaded.reset();
    auto fresh = load(level);
    if (!fresh.is_ok()) {
      state.SkipWithError(fresh.status().to_string().c_str());
      return nullptr;
    }
    loaded = std::move(fresh).value();
  }
  state.SetLabel(loaded->backend->traits().name);
  return loaded->decoder.get();
}

// A step that computes `rows` tokens after `start` and the logits of the last.
kernels::Step step_of(uint32_t start, uint32_t rows) {
  kernels::Step step;
  step.paged.sequences = {{.first_row = 0, .rows = rows, .length = start + rows, .first_block = 0}};
  step.paged.block_table = testing::blocks_in_order(kBlocks);
  for (uint32_t row = 0; row < rows; ++row) {
    step.paged.positions.push_back(start + row);
    step.tokens.push_back(1000 + (start + row) * 37 % 40000);
  }
  step.draws = {{.row = rows - 1}};
  return step;
}

void BM_SmolLm2Prefill(benchmark::State& state) {
  Decoder* decoder = decoder_for(state);
  if (!decoder) return;
  const kernels::Step prompt = step_of(0, kPrompt);
  for (auto _ : state) testing::logits_of(decoder, prompt);
  state.SetItemsProcessed(state.iterations() * kPrompt);
}

void BM_SmolLm2Decode(benchmark::State& state) {
  Decoder* decoder = decoder_for(state);
  if (!decoder) return;
  const auto context = static_cast<uint32_t>(state.range(1));
  if (context > 0) testing::logits_of(decoder, step_of(0, context));
  std::vector<kernels::Step> steps;
  for (uint32_t token = 0; token < kAnswer; ++token) steps.push_back(step_of(context + token, 1));
  for (auto _ : state) {
    for (const kernels::Step& step : steps) testing::logits_of(decoder, step);
  }
  state.SetItemsProcessed(state.iterations() * kAnswer);
}

// One argument per level that this machine can run: 0 scalar, 1 avx2, 2 avx512.
void each_level(benchmark::internal::Benchmark* bench, const std::vector<int64_t>& contexts) {
  for (const kernels::CpuLevel level : kernels::supported_cpu_levels()) {
    if (contexts.empty()) bench->Args({static_cast<int64_t>(level)});
    for (const int64_t context : contexts) bench->Args({static_cast<int64_t>(level), context});
  }
  bench->Unit(benchmark::kMillisecond)->UseRealTime();
}

BENCHMARK(BM_SmolLm2Prefill)->Apply([](auto* bench) { each_level(bench, {}); });
BENCHMARK(BM_SmolLm2Decode)->Apply([](auto* bench) { each_level(bench, {0, 512}); });

}  // namespace
}  // namespace dynamo::model
