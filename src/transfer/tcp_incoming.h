// The receiving half of a connection of backend "tcp", without its socket: says where the next bytes go, and acts on those that came.
//
// Data goes from the socket straight into the pool; only what follows a frame's data is read ahead, a little. Every range is checked
// against the pool before a byte of its frame is written, and nothing is taken before the right hello. Data whose permit is closed is
// read and thrown away: what else is on the connection goes on.  Private to the module.  Threads: one.
#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "base/status.h"
#include "transfer/tcp_frame.h"
#include "transfer/write_permits.h"

namespace dynamo::transfer {

class TcpIncoming {
 public:
  static constexpr size_t kMostParts = kMostFrameRanges + 1;

  // Pool and writer outlive it. The writer is used between next_parts() and the end of received() only.
  TcpIncoming(std::string hello, std::span<std::byte> pool, PermitWriter* writer)
      : hello_(std::move(hello)), pool_(pool), writer_(writer) {}

  // Returns: how many of `parts` were filled in, at least 1; valid until received(), which has to follow.
  // Requires: parts.size() >= kMostParts.
  size_t next_parts(std::span<iovec> parts);
  // `count` bytes came into next_parts(), or none. Appends to both. Errors: kCorrupt; the connection has to be closed then.
  Status received(size_t count, std::vector<std::string>* notifications, std::string* replies);
  bool is_greeted() const { return is_greeted_; }

 private:
  Status check_header(const TcpFrameHeader& header) const;
  Status begin_data(const TcpFrameHeader& header, std::string_view table);
  Status end_frame(const TcpFrameHeader& header, std::string_view payload, std::vector<std::string>* notifications,
                   std::string* replies);
  // Moves the start of the data that is expected past `count` bytes.
  void advance_data(size_t count);
  size_t copy_read_ahead(std::string_view bytes);
  // Until the writer's end() the data may land where it is expected; if its permit is closed, nowhere.
  void begin_writing();

  const std::string hello_;
  const std::span<std::byte> pool_;
  PermitWriter* const writer_;
  bool is_greeted_ = false;
  std::vector<std::span<std::byte>> data_;  // where data is expected
  size_t next_data_ = 0;                    // the first of them that is not full
  PermitId permit_ = kNoPermit;             // of the data
  std::vector<std::byte> nowhere_;          // as large as a frame's data, once it was needed
  std::string control_;                     // everything else: `held_` bytes, and room for more
  size_t held_ = 0;
  size_t needed_ = sizeof(TcpFrameHeader);  // before it makes sense to look at control_ again
};

}  // namespace dynamo::transfer
