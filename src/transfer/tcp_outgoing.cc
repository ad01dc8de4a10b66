#include "transfer/tcp_outgoing.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include <fmt/format.h>

#include "base/check.h"

namespace dynamo::transfer {
namespace {

constexpr size_t kMostBatchPuts = 64;

// What goes in the place of a cancelled put's data when its frame has begun.
constinit std::array<std::byte, kMostFrameBytes> zeros = {};

}  // namespace

void TcpOutgoing::put(PutId id, std::span<const Copy> copies, std::string notification, PermitId permit) {
  puts_.push_back({id, CopyCursor(copies), std::move(notification), permit, Then::kNotify});
}

void TcpOutgoing::part(PutId id, std::span<const Copy> copies, PermitId permit) {
  puts_.push_back({id, CopyCursor(copies), {}, permit, Then::kMore});
}

void TcpOutgoing::ask(PutId id) {
  puts_.push_back({id, {}, {}, kNoPermit, Then::kAsk});
}

TcpOutgoing::Cancelled TcpOutgoing::cancel(PutId id) {
  if (!puts_.empty() && puts_.front().id == id) {
    for (size_t at = std::max(next_part_, open_put_part_); at < parts_.size(); ++at) parts_[at].iov_base = zeros.data();
    open_put_part_ = parts_.size();
  }
  const bool was_waiting = std::erase_if(puts_, [id](const Put& put) { return put.id == id; }) > 0;
  if (begun_.erase(id) > 0) {
    landing_.insert(id);
    to_ask_.push_back(id);
  }
  if (landing_.contains(id)) return Cancelled::kLater;
  return was_waiting ? Cancelled::kNow : Cancelled::kNo;
}

void TcpOutgoing::begin() {
  CHECK(!is_welcome_ && parts_.empty());
  frame({.type = TcpFrameType::kHello}, hello_);
}

std::span<iovec> TcpOutgoing::next_parts() {
  if (next_part_ == parts_.size()) {
    parts_.clear();
    texts_.clear();
    next_part_ = 0;
    open_put_part_ = 0;
    if (is_welcome_) fill_batch();
  }
  return std::span(parts_).subspan(next_part_);
}

void TcpOutgoing::sent(size_t bytes) {
  while (bytes > 0) {
    iovec& part = parts_[next_part_];
    const size_t count = std::min(bytes, part.iov_len);
    part.iov_base = static_cast<std::byte*>(part.iov_base) + count;
    part.iov_len -= count;
    bytes -= count;
    if (part.iov_len == 0) ++next_part_;
  }
}

void TcpOutgoing::frame(TcpFrameHeader header, std::string text) {
  header.bytes = text.size();
  text.insert(0, bytes_of(header));
  texts_.push_back(std::move(text));
  parts_.push_back({texts_.back().data(), texts_.back().size()});
  open_put_part_ = parts_.size();
}

void TcpOutgoing::frame_data(Put* put, uint64_t* budget, uint32_t* ranges) {
  begun_.insert(put->id);
  TcpFrameHeader header{.type = TcpFrameType::kData, .put = put->id, .permit = put->permit};
  std::string& text = texts_.emplace_back(bytes_of(header));
  const size_t text_part = parts_.size();
  parts_.emplace_back();
  while (*budget > 0 && *ranges > 0 && !put->copies.is_done()) {
    const Copy piece = put->copies.take(*budget);
    const TcpFrameRange range{piece.to, piece.bytes};
    text.append(reinterpret_cast<const char*>(&range), sizeof(range));
    parts_.push_back({const_cast<std::byte*>(pool_.data() + piece.from), piece.bytes});
    *budget -= piece.bytes;
    --*ranges;
    ++header.ranges;
    header.bytes += piece.bytes;
  }
  std::memcpy(text.data(), &header, sizeof(header));
  parts_[text_part] = {text.data(), text.size()};
  open_put_part_ = text_part + 1;
}

void TcpOutgoing::frame_end(Put* put) {
  if (put->then == Then::kMore) {
    open_put_part_ = parts_.size();
    return;
  }
  begun_.erase(put->id);
  const bool is_notified = put->then == Then::kNotify;
  frame({.type = is_notified ? TcpFrameType::kNotify : TcpFrameType::kPing, .put = put->id},
        std::move(put->notification));
  (is_notified ? unacknowledged_ : landing_).insert(put->id);
}

void TcpOutgoing::fill_batch() {
  if (std::exchange(wants_ping_, false)) frame({.type = TcpFrameType::kPing}, {});
  for (const PutId id : std::exchange(to_ask_, {})) frame({.type = TcpFrameType::kPing, .put = id}, {});
  uint64_t budget = kMostFrameBytes;
  uint32_t ranges = kMostFrameRanges;
  for (size_t count = 0; count < kMostBatchPuts && !puts_.empty(); ++count) {
    Put& put = puts_.front();
    if (!put.copies.is_done()) {
      if (budget == 0 || ranges == 0) break;
      frame_data(&put, &budget, &ranges);
      if (!put.copies.is_done()) return;
    }
    if (put.notification.size() > budget && count > 0) break;
    budget -= std::min<uint64_t>(budget, put.notification.size());
    frame_end(&put);
    puts_.pop_front();
  }
}

Status TcpOutgoing::received(std::string_view bytes, std::vector<PutId>* acknowledged, std::vector<PutId>* landed) {
  replies_.append(bytes);
  size_t used = 0;
  for (TcpFrameHeader header; replies_.size() - used >= sizeof(header); used += sizeof(header)) {
    std::memcpy(&header, replies_.data() + used, sizeof(header));
    const bool is_first = header.type == TcpFrameType::kWelcome;
    if (header.ranges != 0 || header.bytes != 0 || is_first == is_welcome_)
      return corrupt(fmt::format("a reply of type {} with {} bytes", static_cast<uint32_t>(header.type), header.bytes));
    is_welcome_ = true;
    if (header.type == TcpFrameType::kAck) {
      if (unacknowledged_.erase(header.put) == 0) return corrupt("an acknowledgement of nothing");
      acknowledged->push_back(header.put);
    } else if (header.type == TcpFrameType::kPong && header.put != 0) {
      if (landing_.erase(header.put) == 0) return corrupt("an answer to what was not asked");
      landed->push_back(header.put);
    } else if (!is_first && header.type != TcpFrameType::kPong) {
      return corrupt(fmt::format("a reply of type {}", static_cast<uint32_t>(header.type)));
    }
  }
  replies_.erase(0, used);
  return {};
}

std::vector<PutId> TcpOutgoing::unacknowledged() const {
  std::vector<PutId> puts(unacknowledged_.begin(), unacknowledged_.end());
  for (const Put& put : puts_)
    if (put.then == Then::kNotify) puts.push_back(put.id);
  return puts;
}

}  // namespace dynamo::transfer
