// Hosts our engine with a model, and its hand-offs if it takes part in them.
// Threads: as EngineHost.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "base/io_threads.h"
#include "base/metrics.h"
#include "handoff/both_sides.h"
#include "worker/engine_host.h"
#include "worker/model_worker.h"

namespace dynamo::worker {

struct NativeHostOptions {
  std::string model_path;                        // as open_model_files
  std::string served_model_name;                 // empty: the file's or folder's
  WorkerOptions worker;                          // the host fills in its name and whether the pool is shared
  std::optional<handoff::PartOptions> handoffs;  // none: prompts are computed where they are decoded, and nowhere else
};

// I/O threads and metrics outlive the host; before it is destroyed the I/O threads have ended. Errors of its start():
// those of open_model_files and ModelWorker::start; those of BothSides::start, with "handoffs" in front.
std::unique_ptr<EngineHost> make_native_host(NativeHostOptions options, IoThreads* io, Metrics* metrics);

}  // namespace dynamo::worker
