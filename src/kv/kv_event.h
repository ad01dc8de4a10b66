// What a worker's cache gained or lost, told to routers.
// Made by engine/block_pool.h, encoded for worker/kv_publisher.h, applied by router/kv_feed.h (docs/reference/events.md).
// Order matters: an event holds when all earlier ones of that worker have been applied. Threads: values.
#pragma once

#include <cstdint>
#include <variant>
#include <vector>

#include "base/ids.h"
#include "kv/block_hash.h"

namespace dynamo::kv {

// Blocks whose KV is now computed and may be reused. What they follow is known, or among those before them.
struct BlocksStored {
  std::vector<BlockHash> blocks;
};
struct BlocksRemoved {
  std::vector<BlockHash> blocks;
};
struct BlocksCleared {};

using KvEvent = std::variant<BlocksStored, BlocksRemoved, BlocksCleared>;

// Receives events in order, on the thread that owns the block pool. Must not block.
class KvEventSink {
 public:
  virtual ~KvEventSink() = default;
  virtual void on_kv_event(KvEvent event) = 0;
};

}  // namespace dynamo::kv
