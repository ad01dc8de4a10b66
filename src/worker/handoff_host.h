// Both sides of hand-offs for one engine: what a worker that takes prompts, or gives them away, has beside its engine.
// Threads: start() from one; the rest from any.
#pragma once

#include <memory>
#include <string>

#include "base/io_threads.h"
#include "base/metrics.h"
#include "base/status.h"
#include "base/task.h"
#include "engine/engine.h"
#include "generate/generate_request.h"
#include "kv/kv_layout.h"
#include "rpc/identity.h"
#include "transfer/kv_transport.h"

namespace dynamo::wire {
class Prefill;
}

namespace dynamo::worker {

struct HandoffOptions {
  std::string backend = "auto";  // --disaggregation-transfer-backend
  transfer::NixlLibrary nixl;
  bool has_rdma = false;     // "auto" may use nixl
  std::string name;          // of the worker
  std::string host;          // address that other workers reach it by, a number
  std::string listen_host;   // address to listen on, a number
  std::string model_digest;  // workers of equal digests compute equal blocks
  uint32_t vocab_size = 0;   // the engine's; > 0
  rpc::Identity identity;
};

class HandoffHost {
 public:
  // `pool` has `blocks` blocks of `layout`. Engine, pool, I/O threads and metrics outlive this; before it is destroyed the engine is
  // stopped and the I/O threads have ended. Errors: those of handoff::make_transfer_mover.
  static Result<std::unique_ptr<HandoffHost>> start(HandoffOptions options, engine::Engine* engine,
                                                    transfer::PoolMemory pool, kv::KvLayout layout, uint32_t blocks,
                                                    IoThreads* io, Metrics* metrics);
  virtual ~HandoffHost() = default;

  // As handoff::DecodeSide and handoff::PrefillSide.
  virtual std::shared_ptr<engine::PrefillSource> source_of(const GenerateRequest& request) = 0;
  virtual Task<std::string> answer(wire::Prefill prefill) = 0;
  virtual double transfer_tokens_per_second() const = 0;

  // "shm,tcp"
  virtual const std::string& backends() const = 0;
};

}  // namespace dynamo::worker
