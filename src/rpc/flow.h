// Flow control: how many bytes of an answer may be on their way or unread.
// A stream begins with kStreamWindow bytes of credit; the asker gives back what it has taken, once that is kLargestPiece. So when it
// has taken all, the credit left is more than a piece needs, and no piece waits for ever. Threads: pure functions.
#pragma once

#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>

namespace dynamo::rpc {

inline constexpr uint32_t kStreamWindow = 256U << 10;
inline constexpr uint32_t kLargestPiece = kStreamWindow / 2;

// The payload of a kCredit frame: bytes given back, u32 little-endian.
inline std::string credit_of(uint32_t bytes) {
  return std::string(reinterpret_cast<const char*>(&bytes), sizeof(bytes));
}
inline std::optional<uint32_t> read_credit(std::string_view payload) {
  uint32_t bytes = 0;
  if (payload.size() != sizeof(bytes)) return std::nullopt;
  std::memcpy(&bytes, payload.data(), sizeof(bytes));
  return bytes;
}

}  // namespace dynamo::rpc
