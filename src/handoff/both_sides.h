// Both sides of hand-offs for one engine of ours: what a worker that takes prompts, or gives them away, has beside its
// engine.
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
#include "generate/prefill_order.h"
#include "kv/kv_layout.h"
#include "rpc/identity.h"
#include "transfer/kv_transport.h"

namespace dynamo::handoff {

class BlockMover;
class DecodeSide;
class PrefillPeers;
class PrefillSide;

// How a worker takes part, whatever its engine.
struct PartOptions {
  std::string backend = "auto";  // "auto", "shm", "tcp" or "nixl"
  transfer::NixlLibrary nixl;
  bool has_rdma = false;    // "auto" may use nixl
  std::string host;         // address that other workers reach it by, a number
  std::string listen_host;  // address to listen on, a number
  rpc::Identity identity;
};

// The engine whose prompts are handed off.
struct PartOfEngine {
  engine::Engine* engine = nullptr;
  transfer::PoolMemory pool;  // of `blocks` blocks of `layout`
  kv::KvLayout layout;
  uint32_t blocks = 0;
  std::string model_digest;  // workers of equal digests compute equal blocks
  uint32_t vocab_size = 0;   // > 0
};

class BothSides {
 public:
  // `name` is the worker's. Engine, pool, I/O threads and metrics outlive this; before it is destroyed the engine is
  // stopped and the I/O threads have ended. Errors: those of make_transfer_mover.
  static Result<std::unique_ptr<BothSides>> start(PartOptions options, PartOfEngine of, const std::string& name,
                                                  IoThreads* io, Metrics* metrics);
  ~BothSides();
  BothSides(const BothSides&) = delete;
  BothSides& operator=(const BothSides&) = delete;

  // As DecodeSide and PrefillSide.
  std::shared_ptr<engine::BlockSource> source_of(const GenerateRequest& request);
  Task<Result<PrefillReport>> answer(PrefillOrder order);
  double transfer_tokens_per_second() const;

  std::string backends() const;  // "shm,tcp"

 private:
  BothSides() = default;
  std::unique_ptr<BlockMover> mover_;  // its threads end last: they tell both sides of what they finish
  std::unique_ptr<PrefillPeers> peers_;
  std::unique_ptr<PrefillSide> prefill_;
  std::unique_ptr<DecodeSide> decode_;
};

}  // namespace dynamo::handoff
