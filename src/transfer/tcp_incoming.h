// The receiving half of a connection of backend "tcp", without its socket: says where the next bytes go, and acts on those that came.
//
// Data goes from the socket straight into the pool; only what follows a frame's data is read ahead, a little. Every range is checked
// against the pool before a byte of its frame is written, and nothing is taken before the right hello.  Threads: one.
#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "base/status.h"
#include "transfer/tcp_frame.h"

namespace dynamo::transfer {

class TcpIncoming {
 public:
  static constexpr size_t kMostParts = kMostFrameRanges + 1;

  // `pool` outlives it.
  TcpIncoming(std::string hello, std::span<std::byte> pool) : hello_(std::move(hello)), pool_(pool) {}

  // Returns: how many of `parts` were filled in, at least 1; valid until the next call. Requires: parts.size() >= kMostParts.
  size_t next_parts(std::span<iovec> parts);
  // `count` bytes came into next_parts(). Appends to both. Errors: kCorrupt; the connection has to be closed then.
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

  const std::string hello_;
  const std::span<std::byte> pool_;
  bool is_greeted_ = false;
  std::vector<std::span<std::byte>> data_;  // where data is expected
  size_t next_data_ = 0;                    // the first of them that is not full
  std::string control_;                     // everything else: `held_` bytes, and room for more
  size_t held_ = 0;
  size_t needed_ = sizeof(TcpFrameHeader);  // before it makes sense to look at control_ again
};

}  // namespace dynamo::transfer
