#include "worker/native_host.h"

#include <utility>

#include "base/log.h"
#include "worker/local_host.h"
#include "worker/model_files.h"

namespace dynamo::worker {
namespace {

Result<LocalEngine> open_model(NativeHostOptions options, const std::string& name, Metrics* metrics,
                               kv::KvEventSink* events, const LoadProgress& progress) {
  TRY(const ModelFiles files, open_model_files(options.model_path, options.served_model_name));
  options.worker.name = name;
  options.worker.shares_pool = options.handoffs.has_value();
  LocalEngine out;
  out.model = files.card.name;
  TRY(out.model_bundle, bundle_of(files, options.worker.engine.block_tokens));
  TRY(std::shared_ptr<ModelWorker> worker, ModelWorker::start(files, options.worker, metrics, events, progress));
  LOG(info, "engine ready", {"worker", name}, {"with", worker->description()});
  out.options = worker->options();
  out.engine.engine = worker->engine();
  if (options.handoffs) {
    out.engine.pool = worker->pool();
    out.engine.layout = worker->kv_layout();
    out.engine.blocks = out.options.kv_blocks;
    out.engine.vocab_size = out.options.vocab_size;
    TRY(out.engine.model_digest, weights_digest(files));
  }
  out.owner = std::move(worker);
  return out;
}

}  // namespace

std::unique_ptr<EngineHost> make_native_host(NativeHostOptions options, IoThreads* io, Metrics* metrics) {
  auto handoffs = options.handoffs;
  auto open = [options = std::move(options), metrics](const std::string& name, kv::KvEventSink* events,
                                                      const LoadProgress& progress) {
    return open_model(options, name, metrics, events, progress);
  };
  return make_local_host(std::move(open), std::move(handoffs), io, metrics);
}

}  // namespace dynamo::worker
