// What the router's knowledge of caches costs: items/s are blocks looked up, stored or removed for one worker, per
// second of one core; times of BM_Route are one routing decision, of BM_Replace one snapshot.
//
// The index is that of a busy cluster: 4 M distinct blocks; every prompt is a shared system prompt of 64 blocks (one of
// 512) and 192 blocks of its own that one to three workers hold; so most blocks have few workers and some have all.
#include <benchmark/benchmark.h>

#include <memory>
#include <random>
#include <vector>

#include "base/check.h"
#include "router/prefix_index.h"

namespace dynamo::router {
namespace {

using kv::BlockHash;

constexpr uint32_t kSystemPrompts = 512;
constexpr uint32_t kSystemBlocks = 64;
constexpr uint32_t kOwnBlocks = 192;
constexpr uint32_t kLongPrompts = 1024;
constexpr uint32_t kLongBlocks = 512;  // 8,192 tokens
constexpr uint32_t kDistinct = 4 << 20;
constexpr uint32_t kPrompts = (kDistinct - kSystemPrompts * kSystemBlocks) / kOwnBlocks;

// splitmix64 of a counter: any block of any prompt without a table of them.
BlockHash hash_of(uint64_t prompt, uint64_t depth) {
  uint64_t bits = (prompt << 20 | depth) * 0x9e3779b97f4a7c15;
  bits = (bits ^ bits >> 30) * 0xbf58476d1ce4e5b9;
  bits = (bits ^ bits >> 27) * 0x94d049bb133111eb;
  return {bits ^ bits >> 31};
}

std::vector<BlockHash> system_chain(uint32_t prompt) {
  std::vector<BlockHash> chain;
  for (uint32_t depth = 0; depth < kSystemBlocks; ++depth) {
    chain.push_back(hash_of((1u << 30) + prompt % kSystemPrompts, depth));
  }
  return chain;
}

std::vector<BlockHash> own_chain(uint32_t prompt) {
  std::vector<BlockHash> chain;
  for (uint32_t depth = 0; depth < kOwnBlocks; ++depth) chain.push_back(hash_of(prompt, depth));
  return chain;
}

std::vector<BlockHash> whole_chain(uint32_t prompt) {
  std::vector<BlockHash> chain = system_chain(prompt);
  const std::vector<BlockHash> own = own_chain(prompt);
  chain.insert(chain.end(), own.begin(), own.end());
  return chain;
}

// One long prompt, of which each worker holds another number of blocks, none fewer than half.
std::vector<BlockHash> long_chain(uint32_t prompt) {
  std::vector<BlockHash> chain;
  for (uint32_t depth = 0; depth < kLongBlocks; ++depth) chain.push_back(hash_of((1ull << 31) + prompt, depth));
  return chain;
}

struct Cluster {
  explicit Cluster(uint32_t count) : workers(count) {
    for (WorkerSlot& worker : workers) {
      auto added = index.add_worker();
      CHECK_OK(added);
      worker = *added;
    }
    std::mt19937 random(count);
    for (uint32_t prompt = 0; prompt < kPrompts; ++prompt) {
      const std::vector<BlockHash> chain = whole_chain(prompt);
      for (uint32_t copy = 0; copy <= prompt % 3; ++copy) index.store(workers[random() % count], chain);
    }
    for (uint32_t prompt = 0; prompt < kLongPrompts; ++prompt) {
      const std::vector<BlockHash> chain = long_chain(prompt);
      for (const WorkerSlot worker : workers) {
        index.store(worker,
                    std::span(chain).first(kLongBlocks / 2 + (worker.index * 37 + prompt) % (kLongBlocks / 2 + 1)));
      }
    }
  }
  PrefixIndex index{PrefixIndex::Options{.secret = 1}};
  std::vector<WorkerSlot> workers;
};

// Built once for each number of workers: that takes seconds.
Cluster& cluster(uint32_t workers) {
  static std::unique_ptr<Cluster> built;
  if (built == nullptr || built->workers.size() != workers) {
    built.reset();
    built = std::make_unique<Cluster>(workers);
  }
  return *built;
}

// Chains of prompts in random order, made before the clock starts.
std::vector<std::vector<BlockHash>> random_chains(size_t count, uint32_t first_prompt, uint32_t prompts) {
  std::mt19937 random(5);
  std::vector<std::vector<BlockHash>> chains;
  while (chains.size() < count) chains.push_back(own_chain(first_prompt + random() % prompts));
  return chains;
}

void report(benchmark::State& state, const PrefixIndex& index, int64_t items_per_iteration) {
  state.SetItemsProcessed(state.iterations() * items_per_iteration);
  state.counters["distinct"] = static_cast<double>(index.distinct_blocks());
  state.counters["bytes_per_block"] =
      static_cast<double>(index.bytes()) / static_cast<double>(std::max<size_t>(index.distinct_blocks(), 1));
}

// Prompts anywhere in the table, none of it in the cache.
void BM_Match(benchmark::State& state) {
  Cluster& c = cluster(64);
  std::vector<std::vector<BlockHash>> chains;
  std::mt19937 random(5);
  for (int chain = 0; chain < 8192; ++chain) chains.push_back(whole_chain(random() % kPrompts));
  std::vector<MatchedWorker> out;
  size_t at = 0;
  for (auto _ : state) {
    c.index.match(chains[at++ % chains.size()], &out);
    benchmark::DoNotOptimize(out.data());
  }
  report(state, c.index, kSystemBlocks + kOwnBlocks);
}
BENCHMARK(BM_Match);

// A second worker takes blocks that one holds already, and loses them again.
void BM_StoreAndRemoveKnown(benchmark::State& state) {
  Cluster& c = cluster(64);
  const auto chains = random_chains(8192, 0, kPrompts);
  size_t at = 0;
  for (auto _ : state) {
    const WorkerSlot worker = c.workers[at % c.workers.size()];
    c.index.store(worker, chains[at % chains.size()]);
    c.index.remove(worker, chains[(at + chains.size() / 2) % chains.size()]);
    ++at;
  }
  report(state, c.index, 2 * kOwnBlocks);
}
BENCHMARK(BM_StoreAndRemoveKnown);

// What changes the table itself: blocks nobody held come, those of `kWindow` prompts ago go.
void BM_StoreAndRemoveNew(benchmark::State& state) {
  constexpr uint32_t kWindow = 2048;
  Cluster& c = cluster(64);
  const auto chains = random_chains(2 * kWindow, kPrompts, 1u << 28);
  size_t at = 0;
  for (auto _ : state) {
    c.index.store(c.workers[at % c.workers.size()], chains[at % chains.size()]);
    const size_t old = at + kWindow;
    c.index.remove(c.workers[old % c.workers.size()], chains[old % chains.size()]);
    ++at;
  }
  report(state, c.index, 2 * kOwnBlocks);
  for (size_t left = 0; left < 2 * kWindow; ++left) {
    c.index.remove(c.workers[left % c.workers.size()], chains[left]);
  }
}
BENCHMARK(BM_StoreAndRemoveNew);

// A cluster's day: a decision, the chosen worker stores the prompt, and another loses one.
void BM_Mix(benchmark::State& state) {
  Cluster& c = cluster(64);
  const auto chains = random_chains(8192, 0, kPrompts);
  const auto fresh = random_chains(4096, kPrompts, 1u << 28);
  std::vector<MatchedWorker> out;
  size_t at = 0;
  for (auto _ : state) {
    const WorkerSlot worker = c.workers[at % c.workers.size()];
    c.index.match(chains[at % chains.size()], &out);
    c.index.store(worker, fresh[at % fresh.size()]);
    c.index.remove(worker, fresh[(at + 2048) % fresh.size()]);
    ++at;
  }
  report(state, c.index, 3 * kOwnBlocks);
  for (const auto& chain : fresh) {
    for (const WorkerSlot worker : c.workers) c.index.remove(worker, chain);
  }
}
BENCHMARK(BM_Mix);

// A worker of 64 sends all it has, 128 Ki blocks; a quarter of them is new each time.
void BM_Replace(benchmark::State& state) {
  constexpr uint32_t kBlocks = 128 << 10;
  Cluster& c = cluster(64);
  std::vector<BlockHash> blocks;
  for (uint32_t block = 0; block < kBlocks * 2; ++block) blocks.push_back(hash_of(1ull << 32, block));
  const WorkerSlot worker = *c.index.add_worker();
  uint32_t start = 0;
  for (auto _ : state) {
    c.index.replace(worker, std::span(blocks).subspan(start, kBlocks));
    start = (start + kBlocks / 4) % kBlocks;
  }
  report(state, c.index, kBlocks);
  state.SetLabel("a snapshot of 131072 blocks");
  c.index.remove_worker(worker);
}
BENCHMARK(BM_Replace)->Unit(benchmark::kMillisecond);

// A prompt of 8,192 tokens, the long one of above. Second argument: how many such prompts come in turn; of 1,024 none
// is in the cache when it comes.
void BM_Route(benchmark::State& state) {
  Cluster& c = cluster(static_cast<uint32_t>(state.range(0)));
  std::vector<std::vector<BlockHash>> chains;
  for (uint32_t prompt = 0; prompt < state.range(1); ++prompt) chains.push_back(long_chain(prompt));
  std::vector<MatchedWorker> out;
  size_t at = 0;
  for (auto _ : state) {
    c.index.match(chains[at++ % chains.size()], &out);
    benchmark::DoNotOptimize(out.data());
  }
  CHECK(out.size() == c.workers.size());
  report(state, c.index, kLongBlocks);
}
BENCHMARK(BM_Route)
    ->ArgNames({"workers", "prompts"})
    ->Args({64, 16})
    ->Args({64, kLongPrompts})
    ->Args({1024, 16})
    ->Args({1024, kLongPrompts});

}  // namespace
}  // namespace dynamo::router
