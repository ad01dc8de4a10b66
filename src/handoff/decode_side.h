// The side of a hand-off that decodes: gets prompts computed elsewhere, and has another plan when that fails.
//
// For each prompt: reserve blocks, ask the first place that the request names, take blocks as they arrive, and with the last of them
// the answer's first token. When a place fails, what has arrived is kept and the next one is asked for the rest; when none is left
// the rest is computed here. A hand-off that is over takes no more writes; blocks to which one that began before goes on are not used
// for anything else until it has ended. Protocol: docs/reference/handoff.md.
// Threads: any.  Private to the module.
#pragma once

#include <chrono>
#include <memory>
#include <string>

#include <boost/asio/any_io_executor.hpp>

#include "base/clock.h"
#include "base/metrics.h"
#include "engine/engine.h"
#include "generate/generate_request.h"
#include "handoff/block_mover.h"
#include "handoff/prefill_peers.h"
#include "kv/kv_layout.h"

namespace dynamo::handoff {

struct DecodeSideOptions {
  uint32_t block_tokens = kv::kDefaultBlockTokens;  // of the engine's pool
  uint32_t vocab_size = 0;                          // of the engine: a first token is below it; > 0
  Duration stall_limit = std::chrono::seconds(30);  // a place from which nothing comes this long is given up
  // For a mover that does not know who writes. A place whose connection broke notices within 10 s (rpc) and has no write in flight 5 s
  // later (transfer).
  Duration quarantine = std::chrono::seconds(20);
};

class DecodeSide {
 public:
  // All but the options outlive this; `executor` is a single I/O thread. `mover` tells its notices to this from now on.
  DecodeSide(DecodeSideOptions options, engine::Engine* engine, BlockMover* mover, PrefillPeers* peers,
             boost::asio::any_io_executor executor, const Clock* clock, Metrics* metrics, const MetricLabels& labels);
  // Requires: the engine has stopped. Hand-offs in flight end without a trace.
  ~DecodeSide();

  // Where the request's prompt comes from; null: it names no place.
  std::shared_ptr<engine::BlockSource> source_of(const GenerateRequest& request);
  // Hand-offs whose blocks are held; 0 when all is over.
  size_t in_flight() const;

 private:
  class Rooms;
  class Source;
  struct Room;
  std::shared_ptr<Rooms> rooms_;
};

}  // namespace dynamo::handoff
