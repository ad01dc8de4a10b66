// The BlockMover over KvTransports: one thread for each backend that this worker offers.
// Threads: as BlockMover; callbacks come on the backends' threads.  Private to the module.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/status.h"
#include "handoff/block_mover.h"
#include "transfer/kv_transport.h"
#include "transfer/pool_card.h"

namespace dynamo::handoff {

struct MoverOptions {
  transfer::PoolMemory pool;     // outlives the mover
  transfer::PoolCard card;       // of the pool; host and backends are filled in
  std::string name;              // of this worker
  std::string host;              // address that peers reach this machine by, a number
  std::string listen_host;       // address to listen on, a number; empty: `host`
  std::string backend = "auto";  // "auto", "shm", "tcp" or "nixl".  --disaggregation-transfer-backend
  transfer::NixlLibrary nixl;
  bool has_rdma = false;  // the machine has a device that nixl is faster with than tcp
  // After a backend failed and a slower one was taken for it; twice as long after each further time, up to ten minutes.
  Duration pause_before_faster = std::chrono::seconds(30);
  // Makes one end of a backend. Null: transfer::make_*_transport.
  std::function<Result<std::unique_ptr<transfer::KvTransport>>(std::string_view, const transfer::TransportOptions&)>
      make_transport;
};

// With "auto" this worker offers shm, if its pool can be mapped, tcp, and, if the machine has RDMA and the library loads, nixl; each pair
// takes the best that both have. If writes by that fail though the pair has another, the next hand-off goes by the next best; the better
// one is tried again, with a notice alone, before it carries blocks.
// Errors: kInvalid (no such backend), those of the transports.
Result<std::unique_ptr<BlockMover>> make_transfer_mover(MoverOptions options);

}  // namespace dynamo::handoff
