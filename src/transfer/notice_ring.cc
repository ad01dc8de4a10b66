#include "transfer/notice_ring.h"

#include <algorithm>
#include <cstring>

#include <fmt/format.h>

#include "base/check.h"
#include "transfer/kv_transport.h"

namespace dynamo::transfer {

struct NoticeRing::Header {
  alignas(64) std::atomic<uint64_t> written;
  alignas(64) std::atomic<uint64_t> taken;
  alignas(64) std::atomic<uint32_t> is_reader_asleep;
  alignas(64) std::atomic<uint32_t> is_writer_waiting;
};

NoticeRing::NoticeRing(SharedMemory memory) : memory_(std::move(memory)) {
  CHECK(memory_.bytes() == kMappedBytes);
}

NoticeRing::Header& NoticeRing::header() const {
  return *reinterpret_cast<Header*>(memory_.data());
}

size_t NoticeRing::write(std::string_view bytes) {
  const uint64_t in_ring = mine_ - header().taken.load(std::memory_order_acquire);
  if (in_ring > kBytes) return 0;  // a reader gone mad; its patience ends
  const size_t count = std::min(bytes.size(), kBytes - in_ring);
  const size_t at = mine_ % kBytes;
  const size_t first = std::min(count, kBytes - at);
  std::memcpy(pieces() + at, bytes.data(), first);
  std::memcpy(pieces(), bytes.data() + first, count - first);
  mine_ += count;
  header().written.store(mine_, std::memory_order_seq_cst);
  return count;
}

bool NoticeRing::wakes_reader() {
  return header().is_reader_asleep.load(std::memory_order_seq_cst) != 0 &&
         header().is_reader_asleep.exchange(0, std::memory_order_seq_cst) != 0;
}

bool NoticeRing::waits_for_room() {
  header().is_writer_waiting.store(1, std::memory_order_seq_cst);
  return mine_ - header().taken.load(std::memory_order_seq_cst) >= kBytes;
}

uint64_t NoticeRing::taken() const {
  return header().taken.load(std::memory_order_relaxed);
}

Status NoticeRing::read(std::vector<std::string>* out) {
  const uint64_t in_ring = header().written.load(std::memory_order_acquire) - mine_;
  if (in_ring == 0) return {};
  if (in_ring > kBytes) return corrupt(fmt::format("a ring of {} bytes says that it holds {}", kBytes, in_ring));
  const size_t at = mine_ % kBytes;
  const size_t first = std::min<size_t>(in_ring, kBytes - at);
  unfinished_.append(reinterpret_cast<const char*>(pieces() + at), first);
  unfinished_.append(reinterpret_cast<const char*>(pieces()), in_ring - first);
  mine_ += in_ring;
  header().taken.store(mine_, std::memory_order_seq_cst);
  size_t parsed = 0;
  for (;;) {
    uint32_t length = 0;
    const std::string_view rest = std::string_view(unfinished_).substr(parsed);
    if (rest.size() < sizeof(length)) break;
    std::memcpy(&length, rest.data(), sizeof(length));
    if (length > kMostNotificationBytes)
      return corrupt(
          fmt::format("a notification of {} bytes; at most {} are accepted", length, kMostNotificationBytes));
    if (rest.size() < sizeof(length) + length) break;
    out->emplace_back(rest.substr(sizeof(length), length));
    parsed += sizeof(length) + length;
  }
  unfinished_.erase(0, parsed);
  return {};
}

bool NoticeRing::is_empty() const {
  return header().written.load(std::memory_order_acquire) == mine_;
}

bool NoticeRing::try_sleep() {
  header().is_reader_asleep.store(1, std::memory_order_seq_cst);
  return header().written.load(std::memory_order_seq_cst) == mine_;
}

void NoticeRing::wake_up() {
  header().is_reader_asleep.store(0, std::memory_order_relaxed);
}

bool NoticeRing::wakes_writer() {
  return header().is_writer_waiting.load(std::memory_order_seq_cst) != 0 &&
         header().is_writer_waiting.exchange(0, std::memory_order_seq_cst) != 0;
}

}  // namespace dynamo::transfer
