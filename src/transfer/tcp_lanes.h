// The puts of one peer of backend "tcp", dealt out to its connections, the lanes. Without their sockets.
//
// A put waits here until a lane has nothing left to send. One of at most kWholeParts parts then goes to that lane whole. Of a larger one
// each lane that runs dry takes a part, so that a fast lane carries more than a slow one. If it comes out that one lane has carried all
// of it, the notification follows the data there. Otherwise every lane that carried some is asked, by a ping behind it, whether that has
// landed, and the notification is sent when all have answered: it costs a round trip, and the receiver need know nothing of lanes.
// Threads: one.  Private to the module.
#pragma once

#include <sys/uio.h>

#include <cstdint>
#include <deque>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "transfer/copy_cursor.h"
#include "transfer/kv_transport.h"
#include "transfer/tcp_outgoing.h"

namespace dynamo::transfer {

class TcpLanes {
 public:
  static constexpr uint64_t kWholeParts = 4;

  // `part_bytes`: what a lane takes of a put at a time, at least 1.
  explicit TcpLanes(uint64_t part_bytes) : part_bytes_(part_bytes) {}

  // Borrowed until remove() or take_puts().
  void add(TcpOutgoing* lane) { lanes_.push_back(lane); }
  // Requires: !lane->has_puts().
  void remove(TcpOutgoing* lane);

  void put(PutId id, std::span<const Copy> copies, std::string notification, PermitId permit);
  // As TcpOutgoing::cancel(), of all lanes.
  TcpOutgoing::Cancelled cancel(PutId id);

  // What `lane` has to send next; deals to it first if that is nothing. As TcpOutgoing::next_parts().
  std::span<iovec> next_parts(TcpOutgoing* lane);
  // `bytes` came from the receiver on `lane`. Appends puts that it acknowledged, and cancelled ones of which nothing is on its way any
  // more. Errors: kCorrupt; the connection has to be closed then.
  Status received(TcpOutgoing* lane, std::string_view bytes, std::vector<PutId>* acknowledged,
                  std::vector<PutId>* cancelled);

  uint64_t undealt_bytes() const { return undealt_bytes_; }
  // Whether puts have not finished.
  bool has_puts() const;
  struct Unfinished {
    std::vector<PutId> puts;
    std::vector<PutId> cancelled;
  };
  // Forgets all puts and all lanes. Returns: the puts.
  Unfinished take_puts();

 private:
  struct Put {
    PutId id = 0;
    CopyCursor copies;
    uint64_t bytes = 0;  // of the copies that are left
    std::string notification;
    PermitId permit = kNoPermit;
    std::vector<TcpOutgoing*> carriers;  // lanes that have parts of it
  };
  // A put of which no lane gets data any more, and which is not over when that has landed, or was cancelled.
  struct Landing {
    size_t lanes = 0;  // that have not answered
    std::string notification;
    bool is_cancelled = false;
  };

  void deal(TcpOutgoing* lane);
  void deal_last(TcpOutgoing* lane, Put put, std::span<const Copy> copies);

  uint64_t part_bytes_;
  std::vector<TcpOutgoing*> lanes_;
  std::deque<Put> queue_;
  uint64_t undealt_bytes_ = 0;  // of queue_
  std::map<PutId, Landing> landing_;
};

}  // namespace dynamo::transfer
