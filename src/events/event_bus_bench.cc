// How many 1 KiB events a second go from 8 publishers through a real nats-server of this machine to one subscriber.
//
// A KV event of 64 blocks of 16 bytes is such a message: blocks/s = 64 * messages/s, and 1 M blocks/s (the aim) is 16 k
// messages/s. Server, publishers and subscriber share the machine's cores. A publisher flushes after 64 messages, so that nothing
// is dropped; time runs until the last message is with the callback.
#include <atomic>
#include <thread>
#include <vector>

#include <benchmark/benchmark.h>

#include "events/nats/nats_bus.h"
#include "events/testing/collector.h"
#include "events/testing/nats_process.h"

namespace dynamo::events {
namespace {

constexpr int kPublishers = 8;
constexpr int kMessages = 20'000;  // of each publisher, per iteration
constexpr int kBlocksPerMessage = 64;

std::unique_ptr<NatsBus> connect(const NatsProcess& server) {
  return NatsBus::connect(nats_options_from(server.address()).value(), soon()).value();
}

void publish_all(NatsBus& bus, int publisher, const std::string& message) {
  const std::string subject = "dynamo.bench.kv." + std::to_string(publisher);
  for (int sent = 1; sent <= kMessages; ++sent) {
    bus.publish(subject, message);
    if (sent % 64 == 0) CHECK(bus.flush(soon()).is_ok());
  }
  CHECK(bus.flush(soon()).is_ok());
}

void BM_EventsThroughNats(benchmark::State& state) {
  if (NatsProcess::program().empty()) return state.SkipWithError("nats-server is not installed");
  const auto server = NatsProcess::start().value();
  const auto subscriber = connect(*server);
  std::vector<std::unique_ptr<NatsBus>> publishers;
  for (int i = 0; i < kPublishers; ++i) publishers.push_back(connect(*server));
  std::atomic<int64_t> arrived = 0;
  const auto subscription = subscriber->subscribe("dynamo.bench.kv.*", [&](auto, auto) { ++arrived; });
  CHECK(subscriber->flush(soon()).is_ok());
  const std::string message(static_cast<size_t>(state.range(0)), 'x');
  int64_t expected = 0;
  for (auto _ : state) {
    std::vector<std::thread> threads;
    for (int i = 0; i < kPublishers; ++i) threads.emplace_back([&, i] { publish_all(*publishers[i], i, message); });
    for (std::thread& thread : threads) thread.join();
    expected += int64_t{kPublishers} * kMessages;
    while (arrived + static_cast<int64_t>(subscriber->dropped()) < expected) std::this_thread::yield();
  }
  state.SetItemsProcessed(expected);
  state.SetBytesProcessed(expected * state.range(0));
  state.counters["blocks"] =
      benchmark::Counter(static_cast<double>(expected) * kBlocksPerMessage, benchmark::Counter::kIsRate);
  state.counters["dropped"] = static_cast<double>(subscriber->dropped());
}
BENCHMARK(BM_EventsThroughNats)->Arg(1024)->Unit(benchmark::kMillisecond)->UseRealTime();

// What publish() costs its caller when the bus keeps up: ns per message.
void BM_Publish(benchmark::State& state) {
  if (NatsProcess::program().empty()) return state.SkipWithError("nats-server is not installed");
  const auto server = NatsProcess::start().value();
  const auto bus = connect(*server);
  const std::string message(static_cast<size_t>(state.range(0)), 'x');
  int sent = 0;
  for (auto _ : state) {
    bus->publish("dynamo.bench.kv.1", message);
    if (++sent % 4096 != 0) continue;
    state.PauseTiming();
    CHECK(bus->flush(soon()).is_ok());
    state.ResumeTiming();
  }
}
BENCHMARK(BM_Publish)->Arg(1024);

}  // namespace
}  // namespace dynamo::events
