// What one routing decision costs: a prompt of 8,192 tokens of which every worker holds another part; the requests in
// flight are of other prompts with the same system prompt of 1,024 tokens.
//
// `decision` is the choice and its booking under the router's lock, as dynamo_router_decision_seconds counts it; the
// time of an iteration has the hashing of the prompt, the dispatch and the release as well.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <atomic>
#include <random>
#include <thread>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>

#include <fmt/format.h>

#include "base/check.h"
#include "router/router.h"
#include "wire/bus_messages.h"

namespace dynamo::router {
namespace {

constexpr uint32_t kBlockTokens = 16;
constexpr uint32_t kPromptBlocks = 512;
constexpr uint32_t kSystemTokens = 1024;
constexpr uint32_t kPrompts = 256;

// Takes every request and never says anything.
class Silent final : public Generator {
 public:
  Task<Result<std::unique_ptr<Generation>>> generate(GenerateRequest) override {
    struct Nothing final : Generation {
      Task<Result<TokenChunk>> next() override { co_return unavailable("silent"); }
    };
    co_return std::unique_ptr<Generation>(std::make_unique<Nothing>());
  }
};

GenerateRequest request_of(uint32_t prompt) {
  GenerateRequest request;
  request.id = fmt::format("r{}", prompt);
  for (uint32_t token = 0; token < kPromptBlocks * kBlockTokens; ++token)
    request.prompt.tokens.push_back(token < kSystemTokens ? token : prompt * 7919 + token);
  request.stop.max_tokens = 10;
  request.deadline = Clock::steady().now() + std::chrono::hours(1);
  return request;
}

// A router with workers and requests in flight.
struct Cluster {
  Cluster(uint64_t workers, size_t in_flight) : workers(workers), running(in_flight + 1) {
    RouterOptions options;
    options.mode = Mode::kKv;
    options.block_tokens = kBlockTokens;
    router = Router::create(options, RouterHooks(), &metrics, "m");
    std::vector<std::vector<kv::BlockHash>> chains;
    for (uint32_t prompt = 0; prompt < kPrompts; ++prompt) {
      const GenerateRequest request = request_of(prompt);
      chains.push_back(kv::hash_chain(request.prompt, kBlockTokens));
    }
    for (uint64_t instance = 1; instance <= workers; ++instance) {
      RoutedWorker worker;
      worker.instance = instance;
      worker.name = fmt::format("worker-{}", instance);
      worker.generator = std::make_shared<Silent>();
      worker.is_reachable = [] { return true; };
      worker.total_blocks = 100'000;
      worker.has_events = true;
      CHECK(router->add_worker(std::move(worker)).is_ok());
      std::vector<kv::BlockHash> held;
      for (uint32_t prompt = 0; prompt < kPrompts; ++prompt) {
        const auto part = std::span(chains[prompt]).first((instance * 37 + prompt * 11) % (kPromptBlocks + 1));
        held.insert(held.end(), part.begin(), part.end());
      }
      router->on_snapshot(instance, 1, held);
    }
    for (size_t place = 0; place < in_flight; ++place) send(request_of(kPrompts + place), place);
  }
  // Lets a request take the place of another.
  void send(GenerateRequest request, size_t place) {
    boost::asio::co_spawn(
        io,
        [](Cluster* cluster, GenerateRequest asked, size_t at) -> Task<void> {
          auto generation = co_await cluster->router->generate(std::move(asked));
          CHECK_OK(generation);
          cluster->running[at] = std::move(*generation);
        }(this, std::move(request), place),
        boost::asio::detached);
    io.restart();
    io.run();
  }
  double seconds(const std::string& member) const {
    const std::string text = metrics.expose();
    const std::string name = "dynamo_router_decision_seconds_" + member + "{model=\"m\"} ";
    const size_t at = text.find(name);
    CHECK(at != std::string::npos);
    return std::stod(text.substr(at + name.size()));
  }

  const uint64_t workers;
  Metrics metrics;
  std::shared_ptr<Router> router;
  boost::asio::io_context io{1};
  std::vector<std::unique_ptr<Generation>> running;
};

void BM_Decision(benchmark::State& state) {
  static std::unique_ptr<Cluster> cluster;  // made once for each number of workers: that takes seconds
  const auto workers = static_cast<uint64_t>(state.range(0));
  if (!cluster || cluster->workers != workers) {
    cluster.reset();
    cluster = std::make_unique<Cluster>(workers, static_cast<size_t>(state.range(1)) * workers);
  }
  std::vector<GenerateRequest> requests;
  for (uint32_t prompt = 0; prompt < kPrompts; ++prompt) requests.push_back(request_of(prompt));
  const double sum = cluster->seconds("sum");
  const double count = cluster->seconds("count");
  size_t at = 0;
  for (auto _ : state) {
    cluster->send(requests[at * 131 % kPrompts], cluster->running.size() - 1);
    ++at;
  }
  state.counters["decision_us"] = (cluster->seconds("sum") - sum) / (cluster->seconds("count") - count) * 1e6;
}
BENCHMARK(BM_Decision)
    ->ArgNames({"workers", "in_flight_each"})
    ->Args({8, 4})
    ->Args({64, 4})
    ->Args({1024, 4})
    ->Unit(benchmark::kMicrosecond);

// Decisions beside a thread on which one snapshot of a million blocks after the other is taken over. `snapshot_ms` is
// how long one takes; p50_us to max_us is how long requests took to be dispatched, a wait for the index included.
void BM_DecisionBesideSnapshots(benchmark::State& state) {
  Cluster cluster(/*workers=*/8, /*in_flight=*/32);
  RoutedWorker worker;
  worker.instance = 9;
  worker.name = "worker-9";
  worker.generator = std::make_shared<Silent>();
  worker.has_events = true;
  CHECK(cluster.router->add_worker(std::move(worker)).is_ok());
  std::mt19937_64 random(1);
  std::vector<kv::BlockHash> blocks(1'000'000);
  for (kv::BlockHash& block : blocks) block.bits = random();
  std::atomic<bool> is_over = false;
  uint64_t snapshots = 0;
  const Time began = Clock::steady().now();
  std::thread feeder([&] {
    for (; !is_over; ++snapshots) {
      for (size_t i = 0; i < blocks.size(); i += 2) ++blocks[i].bits;  // half of them are others
      cluster.router->on_snapshot(9, snapshots, blocks);
    }
  });
  std::vector<GenerateRequest> requests;
  for (uint32_t prompt = 0; prompt < kPrompts; ++prompt) requests.push_back(request_of(prompt));
  std::vector<double> taken;
  for (auto _ : state) {
    const Time before = Clock::steady().now();
    cluster.send(requests[taken.size() * 131 % kPrompts], cluster.running.size() - 1);
    taken.push_back(std::chrono::duration<double, std::micro>(Clock::steady().now() - before).count());
  }
  is_over = true;
  feeder.join();
  std::ranges::sort(taken);
  state.counters["p50_us"] = taken[taken.size() / 2];
  state.counters["p99_us"] = taken[taken.size() * 99 / 100];
  state.counters["max_us"] = taken.back();
  state.counters["snapshot_ms"] = std::chrono::duration<double, std::milli>(Clock::steady().now() - began).count() /
                                  static_cast<double>(std::max<uint64_t>(snapshots, 1));
}
BENCHMARK(BM_DecisionBesideSnapshots)->MinTime(5)->Unit(benchmark::kMicrosecond);

// A worker's events as they come from the bus, decoded and applied: new blocks, and as many removed that came 64
// messages before. Items are blocks.
void BM_ApplyEvents(benchmark::State& state) {
  const auto blocks_each = static_cast<uint64_t>(state.range(0));
  constexpr uint64_t kHeld = 64;  // messages
  Metrics metrics;
  RouterOptions options;
  options.mode = Mode::kKv;
  const auto router = Router::create(options, RouterHooks(), &metrics, "m");
  RoutedWorker worker;
  worker.instance = 1;
  worker.name = "worker-1";
  worker.generator = std::make_shared<Silent>();
  worker.has_events = true;
  CHECK(router->add_worker(std::move(worker)).is_ok());
  router->on_snapshot(1, 0, {});
  std::vector<std::string> messages;
  for (uint64_t number = 1; number <= 4096; ++number) {
    wire::KvEvents events;
    events.instance = 1;
    events.first_event = number;
    wire::KvChange& change = events.changes.emplace_back();
    for (uint64_t i = 0; i < blocks_each; ++i) {
      change.stored.push_back({(number * blocks_each + i) * 0x9e3779b97f4a7c15});
      if (number > kHeld) change.removed.push_back({((number - kHeld) * blocks_each + i) * 0x9e3779b97f4a7c15});
    }
    messages.push_back(wire::to_bytes(events));
  }
  for (auto _ : state) {
    state.PauseTiming();
    router->on_snapshot(1, 0, {});
    state.ResumeTiming();
    for (const std::string& message : messages) router->on_events(1, message);
  }
  state.SetItemsProcessed(state.iterations() * static_cast<int64_t>((2 * messages.size() - kHeld) * blocks_each));
  CHECK(router->view().front().cached_blocks == kHeld * blocks_each);
}
BENCHMARK(BM_ApplyEvents)->ArgName("blocks_each")->Arg(1)->Arg(16)->Arg(256)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace dynamo::router
