// Hosts one engine with a model in this process and makes it a Generator.
// Threads: start() and stop() from one thread; the generator from any.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "base/clock.h"
#include "base/metrics.h"
#include "base/status.h"
#include "engine/engine.h"
#include "engine/local_generator.h"
#include "generate/generator.h"
#include "generate/model_card.h"
#include "kernels/backend_factory.h"
#include "kv/kv_layout.h"
#include "transfer/kv_transport.h"
#include "worker/model_files.h"

namespace dynamo::worker {

struct WorkerOptions {
  std::string name = "worker-1";  // in logs, metrics and answers
  kernels::BackendOptions backend = {.device = kernels::Device::kAuto};
  // Of these, the pool and the model say kv_blocks and vocab_size. Where 0: context_length is the model's, as far as the
  // pool reaches; max_batch_tokens and max_sequences are what suits the device.
  engine::EngineOptions engine = {.max_batch_tokens = 0, .max_sequences = 0};
  uint64_t kv_cache_bytes = 0;  // 0: what suits the device (worker/pool_size.h)
  bool shares_pool = false;     // other workers write into its KV pool: it is in memory that they can map
};

class ModelWorker {
 public:
  // Loads the weights (`progress` is told the fraction done) and starts the engine. `files` may be closed afterwards;
  // `metrics` and `events` (may be null) outlive the worker. Errors: kInvalid (an option, by name), those of
  // load_weights, Decoder::create and make_backend.
  static Result<std::unique_ptr<ModelWorker>> start(const ModelFiles& files, WorkerOptions options, Metrics* metrics,
                                                    kv::KvEventSink* events,
                                                    const std::function<void(double)>& progress);
  ~ModelWorker();  // Requires: stop() has returned.

  // With `source_of`: where each request's prompt comes from.
  std::shared_ptr<Generator> generator(engine::LocalGenerator::SourceOf source_of = nullptr) const;
  engine::Engine* engine() const;
  const kv::KvLayout& kv_layout() const;
  // Requires: shares_pool.
  transfer::PoolMemory pool() const;
  const engine::EngineOptions& options() const;  // as it serves: with the pool, the context and the step that it has
  engine::EngineLoad load() const;
  void clear_cache();
  std::string description() const;  // "cpu-avx512, 2 threads; KV 11648 tokens, 256 MiB; weights 94 MiB"

  // As engine::Engine::stop.
  void stop(Time until);

 private:
  struct State;
  explicit ModelWorker(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace dynamo::worker
