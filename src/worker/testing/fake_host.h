// An EngineHost around no engine: says what it is told to say, and answers with a script.
// Threads: as EngineHost.
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <utility>

#include "generate/testing/scripted_generator.h"
#include "worker/engine_host.h"

namespace dynamo::worker {

class FakeHost final : public EngineHost {
 public:
  explicit FakeHost(EngineSpec spec) : spec_(std::move(spec)) {}

  Status start(const std::string&, kv::KvEventSink* sink, const LoadProgress& progress) override {
    events = sink;
    progress(1);
    return start_failure;
  }
  const EngineSpec& spec() const override { return spec_; }
  std::shared_ptr<Generator> generator() const override { return script; }
  HostLoad load() const override {
    HostLoad load;
    load.engine.total_blocks = 1;
    return load;
  }
  void clear_cache() override { ++clears; }
  Task<Result<PrefillReport>> prefill(PrefillOrder) override { co_return moves_no_blocks(); }
  void stop(Time) override { is_stopped = true; }

  std::shared_ptr<ScriptedGenerator> script =
      std::make_shared<ScriptedGenerator>([](const GenerateRequest&) { return ScriptedGenerator::Answer(); });
  Status start_failure;
  kv::KvEventSink* events = nullptr;
  std::atomic<int> clears = 0;
  std::atomic<bool> is_stopped = false;

 private:
  EngineSpec spec_;
};

}  // namespace dynamo::worker
