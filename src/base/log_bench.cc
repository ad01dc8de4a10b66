// What a LOG line costs who writes it: microseconds per line, with standard error a pipe that is read all the time.
#include <benchmark/benchmark.h>
#include <fcntl.h>
#include <unistd.h>

#include <thread>

#include "base/log.h"
#include "base/log_output.h"

namespace dynamo::log {
namespace {

// Standard error leads into a pipe that a thread reads until the end of the process.
void read_standard_error() {
  static const bool is_read = [] {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) return false;
    dup2(ends[1], STDERR_FILENO);
    std::thread([fd = ends[0]] {
      char bytes[65536];
      while (read(fd, bytes, sizeof(bytes)) > 0) continue;
    }).detach();
    return true;
  }();
  benchmark::DoNotOptimize(is_read);
}

// Bursts that the queue takes: what is measured is a server's usual state, not a log that lines are dropped from.
void BM_Line(benchmark::State& state) {
  constexpr int kBurst = 500;
  read_standard_error();
  for (auto _ : state) {
    for (int i = 0; i < kBurst; ++i) LOG(info, "instance lost", {"id", 7}, {"why", "deadline: no ping"});
    state.PauseTiming();
    flush();
    state.ResumeTiming();
  }
  state.SetItemsProcessed(state.iterations() * kBurst);
  state.counters["dropped"] = static_cast<double>(dropped_lines());
}
BENCHMARK(BM_Line)->UseRealTime()->Threads(1)->Threads(4);

// A line below the level.
void BM_LineNotWritten(benchmark::State& state) {
  for (auto _ : state) LOG(debug, "instance lost", {"id", 7}, {"why", "deadline: no ping"});
}
BENCHMARK(BM_LineNotWritten);

}  // namespace
}  // namespace dynamo::log
