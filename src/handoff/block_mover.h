// What hand-offs need of the transports: blocks put into another worker's pool, and notices that come with blocks put into ours.
// Threads: every method from any; callbacks on threads of the mover's, and they must not block.  Private to the module.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace dynamo::handoff {

struct BlockPair {
  uint32_t from = 0;  // in our pool
  uint32_t to = 0;    // in the other's
};

// The way to one peer's pool. Kept by who uses it.
class Route {
 public:
  virtual ~Route() = default;
  virtual std::string_view backend() const = 0;
  virtual uint32_t blocks() const = 0;  // of the peer's pool
};

class BlockMover {
 public:
  virtual ~BlockMover() = default;

  // By which ways peers may write into our pool: "shm,tcp".
  virtual std::string backends() const = 0;
  // What a peer needs to write into our pool (transfer/pool_card.h).
  virtual const std::string& card() const = 0;
  // Checks that both pools agree and chooses a backend. Errors: kUnsupported (they do not agree, or have no backend in common: both
  // values), kCorrupt (no card).
  virtual Result<std::shared_ptr<const Route>> route(std::string_view card) = 0;

  // Told once: that our blocks are read and the peer has them or will have them, or why not; and how many bytes were moved.
  using Done = std::function<void(const Status& status, uint64_t bytes)>;
  // Writes the blocks and then tells the peer `notice`. `room` is of the peer's open_room(); blocks for a closed one do not land, and
  // `done` may be told kCancelled. Requires: every block is within its pool. Returns: for cancel().
  virtual uint64_t put(std::shared_ptr<const Route> route, uint64_t room, std::vector<BlockPair> blocks,
                       std::string notice, Done done) = 0;
  // `done` is still told, with kCancelled unless it was too late. Unknown ones are ignored.
  virtual void cancel(uint64_t put) = 0;

  // Lets peers that know the number write into our pool. Returns: never the same twice, 0 if too many are open.
  virtual uint64_t open_room() = 0;
  // Requires: it is open.
  virtual void close_room(uint64_t room) = 0;
  // Of a closed room: what may still be written for it.
  enum class Writing : uint8_t { kOver, kGoesOn, kUnknown };
  virtual Writing writing(uint64_t room) const = 0;

  // Who is told of notices. Set once, before any card is given out.
  virtual void on_notice(std::function<void(std::string notice)> handler) = 0;
};

}  // namespace dynamo::handoff
