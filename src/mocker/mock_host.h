// Hosts an engine that computes nothing (mocker/simulated_runner.h). Scheduler, cache, events and hand-offs are the
// real ones: what travels between two mockers is a few bytes for each block.
// Threads: as worker::EngineHost.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "base/io_threads.h"
#include "base/metrics.h"
#include "base/status.h"
#include "engine/engine.h"
#include "handoff/both_sides.h"
#include "mocker/simulated_runner.h"
#include "worker/engine_host.h"

namespace dynamo::mocker {

struct MockHostOptions {
  std::string model;             // served name
  std::string model_bundle;      // model_bundle::to_bytes
  engine::EngineOptions engine;  // whole: with kv_blocks, context_length and vocab_size
  double speedup = 1;            // > 0
  CostProfile profile;
  std::optional<handoff::PartOptions> handoffs;  // none: prompts are computed where they are decoded, and nowhere else
};

// Of the model's files, name and vocabulary and what frontends need; its weights may be missing. `engine.kv_blocks`
// and, unless it is to be the model's own, `engine.context_length` are set. Errors: those of worker::open_model_files.
Result<MockHostOptions> mock_of(const std::string& model_path, const std::string& served_name,
                                engine::EngineOptions engine);

// I/O threads and metrics outlive the host; before it is destroyed the I/O threads have ended. Errors of its start():
// those of Engine::start; those of BothSides::start, with "handoffs" in front.
std::unique_ptr<worker::EngineHost> make_mock_host(MockHostOptions options, IoThreads* io, Metrics* metrics);

}  // namespace dynamo::mocker
