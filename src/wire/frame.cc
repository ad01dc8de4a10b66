#include "wire/frame.h"

#include <bit>
#include <cstring>

#include <fmt/format.h>

namespace dynamo::wire {
namespace {

static_assert(std::endian::native == std::endian::little, "frames are little-endian");

// The header as it lies on the wire.
struct RawHeader {
  uint32_t payload_bytes;
  uint8_t type;
  uint8_t flags;
  uint16_t zero;
  uint32_t stream;
};
static_assert(sizeof(RawHeader) == kFrameHeaderBytes);

bool is_known(uint8_t type) {
  return type >= static_cast<uint8_t>(FrameType::kHello) && type <= static_cast<uint8_t>(FrameType::kPong);
}

}  // namespace

void append_frame(FrameType type, uint32_t stream, std::string_view payload, std::string* out) {
  CHECK(payload.size() <= kMaxFramePayload);
  const RawHeader header{static_cast<uint32_t>(payload.size()), static_cast<uint8_t>(type), 0, 0, stream};
  out->append(reinterpret_cast<const char*>(&header), sizeof(header));
  out->append(payload);
}

void FrameReader::push(std::span<const std::byte> bytes) {
  if (consumed_ > 0) {
    buffer_.erase(0, consumed_);
    consumed_ = 0;
  }
  buffer_.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
}

Result<std::optional<Frame>> FrameReader::next() {
  if (!failure_.is_ok()) return failure_;
  const std::string_view rest = std::string_view(buffer_).substr(consumed_);
  if (rest.size() < kFrameHeaderBytes) return std::optional<Frame>();
  RawHeader header;
  std::memcpy(&header, rest.data(), sizeof(header));
  if (header.payload_bytes > max_payload_) {
    failure_ = corrupt(fmt::format("a frame of {} bytes; at most {} are accepted", header.payload_bytes, max_payload_));
  } else if (!is_known(header.type)) {
    failure_ = corrupt(fmt::format("a frame of unknown type {}", header.type));
  } else if (header.flags != 0 || header.zero != 0) {
    failure_ = corrupt("a frame with reserved bits set");
  }
  if (!failure_.is_ok()) return failure_;
  if (rest.size() < kFrameHeaderBytes + header.payload_bytes) return std::optional<Frame>();
  consumed_ += kFrameHeaderBytes + header.payload_bytes;
  return std::optional<Frame>(
      Frame{static_cast<FrameType>(header.type), header.stream, rest.substr(kFrameHeaderBytes, header.payload_bytes)});
}

}  // namespace dynamo::wire
