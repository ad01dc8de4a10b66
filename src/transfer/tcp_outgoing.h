// The sending half of a connection of backend "tcp", without its socket: puts, and parts of puts, cut into frames. Which of a peer's
// connections gets what: transfer/tcp_lanes.h.
// Threads: one.  Private to the module.
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

  // All of a put, or after part() the rest of it: the notification follows the data.
  void put(PutId id, std::span<const Copy> copies, std::string notification, PermitId permit);
  // Data of a put; another part of it, put() or ask() follows.
  void part(PutId id, std::span<const Copy> copies, PermitId permit);
  // After the last part() of a put that other connections carry too: received() says when all its parts have landed.
  void ask(PutId id);
  enum class Cancelled { kNo, kNow, kLater };
  // No: it is unknown, or its notification may be on its way. Later: some of it is on its way; received() says when that has landed.
  Cancelled cancel(PutId id);
  void ping() { wants_ping_ = true; }

  // A new connection: the hello is what goes first. Requires: no puts.
  void begin();
  // What to send next, empty if nothing; valid until the next call of anything here. From the pool itself, at most about 1 MiB.
  std::span<iovec> next_parts();
  void sent(size_t bytes);
  // `bytes` came from the receiver. Appends puts that it acknowledged, and those asked for or cancelled of which nothing is on its way
  // here any more.
  // Errors: kCorrupt; the connection has to be closed then.
  Status received(std::string_view bytes, std::vector<PutId>* acknowledged, std::vector<PutId>* landed);

  // Whether the receiver has answered the hello. Nothing but the hello is sent before.
  bool is_welcome() const { return is_welcome_; }
  // Whether something can be sent, or waits for the welcome.
  bool has_unsent() const { return next_part_ < parts_.size() || !puts_.empty(); }
  // Whether puts have not finished of which something was given here: they are lost with the connection.
  bool has_puts() const { return !puts_.empty() || !begun_.empty() || !unacknowledged_.empty() || !landing_.empty(); }
  // Those whose notification was given here, but for the cancelled ones.
  std::vector<PutId> unacknowledged() const;

 private:
  enum class Then : uint8_t { kNotify, kAsk, kMore };
  struct Put {
    PutId id = 0;
    CopyCursor copies;
    std::string notification;
    PermitId permit = kNoPermit;
    Then then = Then::kNotify;  // after the copies
  };

  void frame(TcpFrameHeader header, std::string text);
  void frame_data(Put* put, uint64_t* budget, uint32_t* ranges);
  void frame_end(Put* put);
  void fill_batch();

  std::string hello_;
  std::span<const std::byte> pool_;
  bool is_welcome_ = false;
  bool wants_ping_ = false;
  std::deque<Put> puts_;            // that are not in a batch as a whole
  std::set<PutId> begun_;           // data of it is in a batch, or was; its end is not
  std::set<PutId> unacknowledged_;  // its notification is in a batch, or was
  std::set<PutId> landing_;         // asked for, or cancelled with data on its way
  std::vector<PutId> to_ask_;       // of these: the receiver has to be asked whether it has landed
  // The frames that are being sent: parts in the pool and in texts_.
  std::vector<iovec> parts_;
  size_t next_part_ = 0;
  size_t open_put_part_ = 0;  // from here on they are data of puts_.front()
  std::deque<std::string> texts_;
  std::string replies_;  // not a whole frame yet
};

}  // namespace dynamo::transfer
