// Hosts an engine of ours in this process, and its hand-offs if it takes part in them, whatever computes its steps: a
// model (worker/native_host.h) or nothing (mocker/mock_host.h).
// Threads: as EngineHost.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "base/io_threads.h"
#include "base/metrics.h"
#include "engine/engine.h"
#include "handoff/both_sides.h"
#include "worker/engine_host.h"

namespace dynamo::worker {

struct LocalEngine {
  std::shared_ptr<const void> owner;  // what the engine and its pool live in
  handoff::PartOfEngine engine;       // without hand-offs the engine alone is read
  engine::EngineOptions options;      // as it serves
  std::string model;                  // served name
  std::string model_bundle;           // model_bundle::to_bytes
};
// Opens the engine: what EngineHost::start() asks of each.
using OpenLocalEngine =
    std::function<Result<LocalEngine>(const std::string& name, kv::KvEventSink* events, const LoadProgress& progress)>;

// I/O threads and metrics outlive the host; before it is destroyed the I/O threads have ended. Without `handoffs`
// prompts are computed where they are decoded, and nowhere else. Errors of its start(): those of `open`; those of
// BothSides::start, with "handoffs" in front.
std::unique_ptr<EngineHost> make_local_host(OpenLocalEngine open, std::optional<handoff::PartOptions> handoffs,
                                            IoThreads* io, Metrics* metrics);

}  // namespace dynamo::worker
