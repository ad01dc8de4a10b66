#include "router/block_table.h"

#include <utility>

#include "base/check.h"

namespace dynamo::router {
namespace {

constexpr size_t kLargestSegment = size_t{6} << 20;
constexpr uint32_t kMaxEvicted = 64;  // at once

size_t round_down(size_t bytes, size_t unit) {
  return bytes / unit * unit;
}

}  // namespace

BlockTable::BlockTable(size_t max_bytes, uint64_t secret)
    : max_bytes_(max_bytes),
      max_segment_bytes_(std::clamp(round_down(max_bytes / 16, kPageBytes), kPageBytes, kLargestSegment)),
      secret_(secret),
      factor_((secret * 0x9e3779b97f4a7c15) | 1) {
  CHECK(max_bytes >= kMinBytes);
  while ((max_bytes_ >> max_depth_) > max_segment_bytes_ / 2) ++max_depth_;
  // Room for all there can be, so that these never grow past what bytes() says.
  directory_.reserve(size_t{1} << max_depth_);
  segments_.reserve(size_t{1} << max_depth_);
  free_segments_.reserve(size_t{1} << max_depth_);
  bytes_ = directory_bytes();
  auto first = new_segment(kPageBytes, /*depth=*/0);
  CHECK(first.has_value());
  segments_.emplace_back();
  directory_.resize(1);
  replace_segment(/*index=*/0, std::move(*first), /*position=*/0);
}

std::optional<BlockTable::Segment> BlockTable::new_segment(size_t bytes, uint32_t depth) {
  if (bytes == 0 || bytes_ + bytes > max_bytes_) return std::nullopt;
  Segment segment;
  segment.memory = MappedMemory::map(bytes);
  if (segment.memory.is_empty()) return std::nullopt;
  bytes_ += bytes;
  segment.buckets = static_cast<uint32_t>(bytes / sizeof(Bucket));
  segment.limit = segment.buckets * kBucketSlots / 16 * 9;
  segment.depth = depth;
  return segment;
}

void BlockTable::drop_memory(Segment* segment) {
  bytes_ -= segment->memory.size();
  *segment = Segment();
}

uint64_t BlockTable::end_of_segment(uint64_t position) {
  const uint32_t depth = segment_at(position).depth;
  return depth == 0 ? 0 : (position | (~uint64_t{0} >> depth)) + 1;
}

BlockTable::Place BlockTable::insert(Bucket* home, kv::BlockHash hash, WorkerSet workers) {
  Bucket* bucket = home;
  for (;; bucket = after(bucket, hash)) {
    if (const uint32_t equal = bucket->equal_to(hash.bits); equal != 0) {
      WorkerSet* const found = &bucket->workers[std::countr_zero(equal)];
      if (!found->is_empty()) return {found, false};
    }
    if (!bucket->is_full()) break;
  }
  const uint64_t position = position_of(hash);
  Segment& segment = segment_at(position);
  if (segment.used >= segment.limit) [[unlikely]] {
    if (!make_room(position)) return {};
    ++size_;
    return {place(&segment_at(position), hash.bits, position, workers), true};
  }
  ++size_;
  ++segment.used;
  const uint32_t slot = bucket->first_empty();
  bucket->keys[slot] = hash.bits;
  bucket->workers[slot] = workers;
  return {&bucket->workers[slot], true};
}

WorkerSet* BlockTable::place(Segment* segment, uint64_t key, uint64_t position, WorkerSet workers) {
  Bucket* bucket = segment->begin() + bucket_of(position, segment->buckets);
  while (bucket->is_full()) {
    if (++bucket == segment->begin() + segment->buckets) bucket = segment->begin();
  }
  const uint32_t slot = bucket->first_empty();
  bucket->keys[slot] = key;
  bucket->workers[slot] = workers;
  ++segment->used;
  return &bucket->workers[slot];
}

void BlockTable::erase(kv::BlockHash hash, WorkerSet* workers) {
  const uint64_t position = position_of(hash);
  Segment& segment = segment_at(position);
  const auto offset = static_cast<size_t>(reinterpret_cast<std::byte*>(workers) - segment.memory.data());
  const auto bucket = static_cast<uint32_t>(offset / sizeof(Bucket));
  erase_slot(&segment, bucket, static_cast<uint32_t>(workers - segment.begin()[bucket].workers));
  if (is_sparse(segment)) shrink(position);
}

// Closes the hole: the bucket's last block moves into it, and if the bucket was full, a block that had to go past it
// comes back, which leaves a hole further on.
void BlockTable::erase_slot(Segment* segment, uint32_t bucket, uint32_t slot) {
  Bucket* const begin = segment->begin();
  const uint32_t buckets = segment->buckets;
  const auto steps = [buckets](uint32_t from, uint32_t to) { return to >= from ? to - from : to + buckets - from; };
  --segment->used;
  --size_;
  for (;;) {
    const bool was_full = begin[bucket].is_full();
    const uint32_t last = begin[bucket].first_empty() - 1;
    begin[bucket].keys[slot] = begin[bucket].keys[last];
    begin[bucket].workers[slot] = begin[bucket].workers[last];
    begin[bucket].workers[last] = WorkerSet();
    if (!was_full) return;
    uint32_t from = bucket;
    uint32_t from_slot = kBucketSlots;
    while (from_slot == kBucketSlots) {
      from = from + 1 == buckets ? 0 : from + 1;
      for (from_slot = 0; from_slot < kBucketSlots; ++from_slot) {
        if (begin[from].workers[from_slot].is_empty()) return;  // nobody went further
        const uint64_t position = position_of({begin[from].keys[from_slot]});
        if (steps(bucket_of(position, buckets), from) >= steps(bucket, from)) break;
      }
    }
    begin[bucket].keys[last] = begin[from].keys[from_slot];
    begin[bucket].workers[last] = begin[from].workers[from_slot];
    bucket = from;
    slot = from_slot;
  }
}

void BlockTable::evict(kv::BlockHash hash, std::vector<Evicted>* out) {
  Segment& segment = segment_at(position_of(hash));
  const size_t wanted = out->size() + std::clamp<uint32_t>(segment.used / 256, 1, kMaxEvicted);
  while (out->size() < wanted && segment.used > 0) {
    Bucket& bucket = segment.begin()[segment.hand];
    for (uint32_t slot = kBucketSlots; slot-- > 0;) {
      WorkerSet& workers = bucket.workers[slot];
      if (workers.is_recent()) {
        workers.bits &= ~WorkerSet::kRecent;
      } else if (!workers.is_empty()) {
        out->push_back({{bucket.keys[slot]}, workers});
        erase_slot(&segment, segment.hand, slot);
      }
    }
    segment.hand = segment.hand + 1 == segment.buckets ? 0 : segment.hand + 1;
  }
}

}  // namespace dynamo::router
