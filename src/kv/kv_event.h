// What a worker's cache gained or lost, told to routers.
// Made by engine/block_pool.h, told by worker/kv_publisher.h, applied by router/kv_feed.h (docs/reference/events.md).
// Order matters: an event holds when all earlier ones of that worker have been applied. Threads: values.
#pragma once

#include <cstdint>
#include <vector>

#include "kv/block_hash.h"
#include "kv/tier.h"

namespace dynamo::kv {

struct KvEvent {
  enum class What : uint8_t {
    kStored,   // the KV of these blocks is there and may be reused
    kRemoved,  // it is not any more
    kCleared   // nothing is
  };
  What what = What::kStored;
  std::vector<BlockHash> blocks;  // none of kCleared
  Tier tier = Tier::kDevice;      // where; what other tiers have does not change
};

// Receives events in order, on the thread that owns the block pool. Must not block.
class KvEventSink {
 public:
  virtual ~KvEventSink() = default;
  virtual void on_kv_event(KvEvent event) = 0;
};

}  // namespace dynamo::kv
