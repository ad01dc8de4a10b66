// How puts lie in the byte stream between two ends of backend "tcp".
//
//   u32 type | u32 ranges | u64 bytes | u64 put | u64 permit
//   then `ranges` times u64 to | u64 bytes, then `bytes` bytes                                                      all little-endian
//
//   to the receiver  hello: first; bytes of hello_of()       data: bytes for the ranges of the pool, one after another
//                    notify: the put's last; its notification   ping; of a put: cancelled, or its data lies on other connections too
//   to the sender    welcome: the hello was right             ack: the put's notification was given out           pong: with the ping's put
//
// A connection belongs to the end that opened it; only that one puts. It may open several; the receiver need not know that.
// Private to the module.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "transfer/kv_transport.h"

namespace dynamo::transfer {

enum class TcpFrameType : uint32_t { kHello = 1, kData, kNotify, kPing, kWelcome, kAck, kPong };

struct TcpFrameHeader {
  TcpFrameType type = TcpFrameType::kPing;
  uint32_t ranges = 0;
  uint64_t bytes = 0;
  uint64_t put = 0;
  PermitId permit = kNoPermit;  // of data
};
static_assert(sizeof(TcpFrameHeader) == 32);

struct TcpFrameRange {
  uint64_t to = 0;
  uint64_t bytes = 0;
};
static_assert(sizeof(TcpFrameRange) == 16);

inline constexpr uint64_t kMostFrameBytes = 1U << 20;
inline constexpr uint32_t kMostFrameRanges = 480;  // with what goes around them, within one sendmsg (IOV_MAX)

inline std::string_view bytes_of(const TcpFrameHeader& header) {
  return {reinterpret_cast<const char*>(&header), sizeof(header)};
}
// What a receiver of this secret expects: version and secret.
std::string hello_of(std::string_view secret);

}  // namespace dynamo::transfer
