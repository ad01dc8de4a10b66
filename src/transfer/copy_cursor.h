// The bytes of a put that are still to be copied, and the checks that come before it is taken.
// Threads: values.  Private to the module.
#pragma once

#include <algorithm>
#include <span>
#include <string_view>
#include <vector>

#include <fmt/format.h>

#include "transfer/kv_transport.h"

namespace dynamo::transfer {

// Errors: kInvalid, as KvTransport::put() has it.
inline Status check_put(std::span<const Copy> copies, std::string_view notification, uint64_t pool_bytes,
                        uint64_t peer_pool_bytes) {
  if (notification.size() > kMostNotificationBytes)
    return invalid(
        fmt::format("a notification of {} bytes; at most {} are sent", notification.size(), kMostNotificationBytes));
  for (const Copy& copy : copies) {
    if (copy.from > pool_bytes || copy.bytes > pool_bytes - copy.from)
      return invalid(fmt::format("{} bytes at {} are outside the pool of {} bytes", copy.bytes, copy.from, pool_bytes));
    if (copy.to > peer_pool_bytes || copy.bytes > peer_pool_bytes - copy.to)
      return invalid(
          fmt::format("{} bytes at {} are outside the peer's pool of {} bytes", copy.bytes, copy.to, peer_pool_bytes));
  }
  return {};
}

// The same copies with neighbours joined and none above `most` bytes; empty ones are left out.
inline std::vector<Copy> joined(std::span<const Copy> copies, uint64_t most) {
  std::vector<Copy> joined;
  joined.reserve(copies.size());
  for (Copy copy : copies) {
    if (!joined.empty()) {
      Copy& last = joined.back();
      const bool is_next = last.from + last.bytes == copy.from && last.to + last.bytes == copy.to;
      if (is_next && last.bytes + copy.bytes <= most) {
        last.bytes += copy.bytes;
        continue;
      }
    }
    while (copy.bytes > 0) {
      const uint64_t bytes = std::min(copy.bytes, most);
      joined.push_back({copy.from, copy.to, bytes});
      copy = {copy.from + bytes, copy.to + bytes, copy.bytes - bytes};
    }
  }
  return joined;
}

// A walk through the bytes of a put's copies, piece by piece.
class CopyCursor {
 public:
  CopyCursor() = default;
  explicit CopyCursor(std::span<const Copy> copies) : copies_(copies.begin(), copies.end()) { skip_done(); }

  bool is_done() const { return next_ == copies_.size(); }
  // The next piece, of at most `bytes`. Requires: !is_done(), bytes > 0.
  Copy take(uint64_t bytes) {
    const Copy& copy = copies_[next_];
    const Copy piece{copy.from + offset_, copy.to + offset_, std::min(bytes, copy.bytes - offset_)};
    offset_ += piece.bytes;
    skip_done();
    return piece;
  }

 private:
  void skip_done() {
    while (next_ < copies_.size() && copies_[next_].bytes == offset_) {
      ++next_;
      offset_ = 0;
    }
  }

  std::vector<Copy> copies_;
  size_t next_ = 0;
  uint64_t offset_ = 0;
};

}  // namespace dynamo::transfer
