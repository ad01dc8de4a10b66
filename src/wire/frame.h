// Frames: how messages lie in the byte stream between two processes.
//
//   u32 length of the payload | u8 type | u8 flags | u16 zero | u32 stream | payload          all little-endian
//
// One connection carries many streams (one per request); stream 0 is the connection itself (hello, ping, pong). The reader is
// incremental: bytes may arrive cut anywhere. Nothing is trusted: a frame longer than the limit, of an unknown type, with a
// flag or the zero field set wrongly ends the connection. Format: docs/reference/wire.md.
// Threads: one per connection and direction.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/status.h"

namespace dynamo::wire {

enum class FrameType : uint8_t {
  kHello = 1,  // first frame of each side: version, namespace, who
  kRequest,    // opens a stream
  kChunk,      // a piece of the answer
  kEnd,        // the answer is complete
  kError,      // the answer failed; ends the stream
  kCancel,     // the asker wants no more; ends the stream
  kCredit,     // the asker can take this many more bytes
  kPing,
  kPong,
};

inline constexpr size_t kFrameHeaderBytes = 12;
inline constexpr uint32_t kMaxFramePayload = 64U << 20;

struct FrameHeader {
  uint32_t payload_bytes = 0;
  FrameType type = FrameType::kPing;
  uint32_t stream = 0;
};

// A frame as it lies in the reader's buffer; `payload` is valid until the next push() or next().
struct Frame {
  FrameType type = FrameType::kPing;
  uint32_t stream = 0;
  std::string_view payload;
};

// Appends a frame to `out`. Requires: payload.size() <= kMaxFramePayload.
void append_frame(FrameType type, uint32_t stream, std::string_view payload, std::string* out);

class FrameReader {
 public:
  explicit FrameReader(uint32_t max_payload = kMaxFramePayload) : max_payload_(max_payload) {}

  void push(std::span<const std::byte> bytes);
  // Returns: the next whole frame, or none until more bytes come. Errors: kCorrupt (names what is wrong); the reader then stays failed.
  Result<std::optional<Frame>> next();

 private:
  uint32_t max_payload_;
  std::string buffer_;
  size_t consumed_ = 0;
  Status failure_;
};

}  // namespace dynamo::wire
