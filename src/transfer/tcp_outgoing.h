// The sending half of a connection of backend "tcp", without its socket: the puts of one peer, cut into frames.
// Threads: one.
#pragma once

#include <sys/uio.h>

#include <deque>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "transfer/copy_cursor.h"
#include "transfer/kv_transport.h"
#include "transfer/tcp_frame.h"

namespace dynamo::transfer {

class TcpOutgoing {
 public:
  // `pool` outlives it.
  TcpOutgoing(std::string hello, std::span<const std::byte> pool) : hello_(std::move(hello)), pool_(pool) {}

  void put(PutId id, std::span<const Copy> copies, std::string notification, PermitId permit = kNoPermit);
  enum class Cancelled { kNo, kNow, kLater };
  // No: it is unknown, or its notification may be on its way. Later: some of it is on its way; received() says when that has landed.
  Cancelled cancel(PutId id);
  void ping() { wants_ping_ = true; }

  // A new connection: the hello is what goes first. Requires: no puts.
  void begin();
  // What to send next, empty if nothing; valid until the next call of anything here. From the pool itself, at most about 1 MiB.
  std::span<iovec> next_parts();
  void sent(size_t bytes);
  // `bytes` came from the receiver. Appends puts that it acknowledged, and cancelled ones of which nothing is on its way any more.
  // Errors: kCorrupt; the connection has to be closed then.
  Status received(std::string_view bytes, std::vector<PutId>* acknowledged, std::vector<PutId>* landed);

  // Whether puts have not finished.
  bool has_puts() const { return !puts_.empty() || !unacknowledged_.empty() || !landing_.empty(); }
  struct Unfinished {
    std::vector<PutId> puts;
    std::vector<PutId> cancelled;
  };
  // Forgets all puts, and what is left of the connection. Returns: them.
  Unfinished take_puts();

 private:
  struct Put {
    PutId id = 0;
    CopyCursor copies;
    std::string notification;
    PermitId permit = kNoPermit;
    bool has_begun = false;  // data of it is in a batch, or was
  };

  void frame(TcpFrameHeader header, std::string text);
  void frame_data(Put* put, uint64_t* budget, uint32_t* ranges);
  void fill_batch();

  std::string hello_;
  std::span<const std::byte> pool_;
  bool is_welcome_ = false;
  bool wants_ping_ = false;
  std::deque<Put> puts_;            // whose notification is not in a batch yet
  std::set<PutId> unacknowledged_;  // the others
  std::set<PutId> landing_;         // cancelled with data on its way
  std::vector<PutId> to_ask_;       // of these: the receiver has to be asked whether it has landed
  // The frames that are being sent: parts in the pool and in texts_.
  std::vector<iovec> parts_;
  size_t next_part_ = 0;
  size_t open_put_part_ = 0;  // from here on they are data of puts_.front()
  std::deque<std::string> texts_;
  std::string replies_;  // not a whole frame yet
};

}  // namespace dynamo::transfer
