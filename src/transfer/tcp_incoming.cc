#include "transfer/tcp_incoming.h"

#include <algorithm>
#include <cstring>

#include <fmt/format.h>

#include "base/check.h"
#include "transfer/byte_record.h"
#include "transfer/end_metadata.h"
#include "transfer/kv_transport.h"

namespace dynamo::transfer {
namespace {

constexpr size_t kReadAhead = 4096;

// Takes as long for a wrong one as for the right one.
bool is_same_secret(std::string_view a, std::string_view b) {
  if (a.size() != b.size()) return false;
  unsigned different = 0;
  for (size_t at = 0; at < a.size(); ++at) different |= static_cast<unsigned>(a[at] ^ b[at]);
  return different == 0;
}

}  // namespace

std::string hello_of(std::string_view secret) {
  ByteWriter writer;
  writer.text("dynamo kv tcp");
  writer.number(TcpMetadata::kVersion);
  writer.text(secret);
  return writer.take();
}

size_t TcpIncoming::next_parts(std::span<iovec> parts) {
  size_t count = 0;
  begin_writing();
  for (size_t at = next_data_; at < data_.size(); ++at) parts[count++] = {data_[at].data(), data_[at].size()};
  control_.resize(std::max(held_ + kReadAhead, needed_));
  parts[count++] = {control_.data() + held_, control_.size() - held_};
  return count;
}

Status TcpIncoming::received(size_t count, std::vector<std::string>* notifications, std::string* replies) {
  while (count > 0 && next_data_ < data_.size()) {
    const size_t part = std::min(count, data_[next_data_].size());
    advance_data(part);
    count -= part;
  }
  writer_->end();
  held_ += count;
  size_t used = 0;
  for (;;) {
    const std::string_view rest = std::string_view(control_).substr(used, held_ - used);
    if (next_data_ < data_.size()) {
      used += copy_read_ahead(rest);
      if (next_data_ < data_.size()) break;
      continue;
    }
    TcpFrameHeader header;
    needed_ = sizeof(header);
    if (rest.size() < needed_) break;
    std::memcpy(&header, rest.data(), sizeof(header));
    TRY_STATUS(check_header(header));
    const bool is_data = header.type == TcpFrameType::kData;
    needed_ += is_data ? header.ranges * sizeof(TcpFrameRange) : header.bytes;
    if (rest.size() < needed_) break;
    const std::string_view payload = rest.substr(sizeof(header), needed_ - sizeof(header));
    used += needed_;
    if (is_data) {
      TRY_STATUS(begin_data(header, payload));
    } else {
      TRY_STATUS(end_frame(header, payload, notifications, replies));
    }
  }
  std::memmove(control_.data(), control_.data() + used, held_ - used);
  held_ -= used;
  return {};
}

Status TcpIncoming::begin_data(const TcpFrameHeader& header, std::string_view table) {
  std::vector<std::span<std::byte>> data;
  uint64_t total = 0;
  for (uint32_t at = 0; at < header.ranges; ++at) {
    TcpFrameRange range;
    std::memcpy(&range, table.data() + at * sizeof(range), sizeof(range));
    if (range.bytes == 0 || range.to > pool_.size() || range.bytes > pool_.size() - range.to)
      return corrupt(fmt::format("{} bytes for {} of a pool of {} bytes", range.bytes, range.to, pool_.size()));
    total += range.bytes;
    if (total > header.bytes) break;
    data.push_back(pool_.subspan(range.to, range.bytes));
  }
  if (total != header.bytes)
    return corrupt(fmt::format("ranges of {} bytes or more in a frame of {}", total, header.bytes));
  data_ = std::move(data);
  next_data_ = 0;
  permit_ = header.permit;
  return {};
}

void TcpIncoming::advance_data(size_t count) {
  data_[next_data_] = data_[next_data_].subspan(count);
  if (data_[next_data_].empty()) ++next_data_;
}

void TcpIncoming::begin_writing() {
  if (next_data_ == data_.size() || writer_->begin(permit_)) return;
  nowhere_.resize(kMostFrameBytes);
  for (size_t at = next_data_; at < data_.size(); ++at) data_[at] = std::span(nowhere_).first(data_[at].size());
}

size_t TcpIncoming::copy_read_ahead(std::string_view bytes) {
  size_t copied = 0;
  begin_writing();
  while (copied < bytes.size() && next_data_ < data_.size()) {
    const size_t part = std::min(bytes.size() - copied, data_[next_data_].size());
    std::memcpy(data_[next_data_].data(), bytes.data() + copied, part);
    copied += part;
    advance_data(part);
  }
  writer_->end();
  return copied;
}

Status TcpIncoming::check_header(const TcpFrameHeader& header) const {
  const bool is_hello = header.type == TcpFrameType::kHello;
  if (is_hello == is_greeted_) return corrupt(is_hello ? "a second hello" : "no hello first");
  uint64_t most_bytes = 0;
  switch (header.type) {
    case TcpFrameType::kHello:
      most_bytes = hello_.size();
      break;
    case TcpFrameType::kData:
      most_bytes = kMostFrameBytes;
      break;
    case TcpFrameType::kNotify:
      most_bytes = kMostNotificationBytes;
      break;
    case TcpFrameType::kPing:
      break;
    default:
      return corrupt(fmt::format("a frame of type {}", static_cast<uint32_t>(header.type)));
  }
  const uint32_t most_ranges = header.type == TcpFrameType::kData ? kMostFrameRanges : 0;
  if (header.bytes > most_bytes || header.ranges > most_ranges)
    return corrupt(fmt::format("a frame of type {} with {} ranges and {} bytes; at most {} and {} are taken",
                               static_cast<uint32_t>(header.type), header.ranges, header.bytes, most_ranges,
                               most_bytes));
  return {};
}

Status TcpIncoming::end_frame(const TcpFrameHeader& header, std::string_view payload,
                              std::vector<std::string>* notifications, std::string* replies) {
  TcpFrameHeader reply{.put = header.put};
  switch (header.type) {
    case TcpFrameType::kHello:
      if (!is_same_secret(payload, hello_)) return corrupt("a hello of another version, or without the secret");
      is_greeted_ = true;
      reply.type = TcpFrameType::kWelcome;
      break;
    case TcpFrameType::kNotify:
      notifications->emplace_back(payload);
      reply.type = TcpFrameType::kAck;
      break;
    default:
      reply.type = TcpFrameType::kPong;
  }
  replies->append(bytes_of(reply));
  return {};
}

}  // namespace dynamo::transfer
