// How segments of the block table grow, split, shrink and merge.
#include <utility>

#include "base/check.h"
#include "router/block_table.h"

namespace dynamo::router {
namespace {

size_t round_up(size_t bytes, size_t unit) {
  return (bytes + unit - 1) / unit * unit;
}

// Whole huge pages for what is larger than half of one.
size_t rounded(size_t bytes) {
  return round_up(std::max<size_t>(bytes, 1), bytes > kHugePageBytes / 2 ? kHugePageBytes : kPageBytes);
}

}  // namespace

size_t BlockTable::allowed_bytes(uint32_t depth) const {
  const size_t while_rehashing = 2 * max_segment_bytes_;
  return ((max_bytes_ - directory_bytes() - while_rehashing) >> depth) / kPageBytes * kPageBytes;
}

// Enters every block in the segment that choose(position) names, as not recent: so eviction, which begins when growth
// ends, finds blocks that nobody has used for a while and needs not take the first it sees.
template <class Choose>
void BlockTable::move_blocks(const Segment& from, Choose choose) {
  for (const Bucket& bucket : std::span(from.begin(), from.buckets)) {
    for (uint32_t slot = 0; slot < kBucketSlots && !bucket.workers[slot].is_empty(); ++slot) {
      const uint64_t position = position_of({bucket.keys[slot]});
      place(choose(position), bucket.keys[slot], position, {bucket.workers[slot].bits & ~WorkerSet::kRecent});
    }
  }
}

bool BlockTable::make_room(uint64_t position) {
  const Segment& segment = segment_at(position);
  const size_t now = segment.memory.size();
  const size_t worthwhile = now + now / 16;
  const size_t allowed = allowed_bytes(segment.depth);
  const size_t grown = rounded(now + now / 2);
  if (grown <= max_segment_bytes_) {
    const size_t bytes = std::min(grown, allowed);
    return bytes >= worthwhile && resize(position, bytes);
  }
  const size_t child = std::min(rounded(now / 3 * 2), allowed_bytes(segment.depth + 1));
  return segment.depth < max_depth_ && 2 * child >= worthwhile && split(position, child);
}

bool BlockTable::resize(uint64_t position, size_t bytes) {
  Segment& old = segment_at(position);
  auto resized = new_segment(bytes, old.depth);
  if (!resized.has_value()) return false;
  move_blocks(old, [&](uint64_t) { return &*resized; });
  resized->hand = static_cast<uint32_t>(uint64_t{old.hand} * resized->buckets / old.buckets);
  replace_segment(directory_[entry_of(position)].segment, std::move(*resized), position);
  return true;
}

bool BlockTable::split(uint64_t position, size_t child_bytes) {
  const uint32_t lower_index = directory_[entry_of(position)].segment;
  Segment& old = segments_[lower_index];
  const uint64_t bit = uint64_t{1} << (63 - old.depth);
  auto lower = new_segment(child_bytes, old.depth + 1);
  auto upper = new_segment(child_bytes, old.depth + 1);
  uint32_t in_upper = 0;
  for (const Bucket& bucket : std::span(old.begin(), old.buckets)) {
    for (uint32_t slot = 0; slot < kBucketSlots && !bucket.workers[slot].is_empty(); ++slot) {
      in_upper += (position_of({bucket.keys[slot]}) & bit) != 0;
    }
  }
  if (!lower.has_value() || !upper.has_value() || std::max(in_upper, old.used - in_upper) >= lower->limit) {
    for (auto* unused : {&lower, &upper}) {
      if (unused->has_value()) drop_memory(&**unused);
    }
    return false;
  }
  move_blocks(old, [&](uint64_t at) { return (at & bit) != 0 ? &*upper : &*lower; });
  if (old.depth == depth_) double_directory();
  replace_segment(lower_index, std::move(*lower), position & ~bit);
  if (free_segments_.empty()) {
    free_segments_.push_back(static_cast<uint32_t>(segments_.size()));
    segments_.emplace_back();
  }
  const uint32_t upper_index = free_segments_.back();
  free_segments_.pop_back();
  replace_segment(upper_index, std::move(*upper), position | bit);
  return true;
}

bool BlockTable::merge(uint64_t position, uint64_t buddy_position, size_t bytes) {
  auto merged = new_segment(bytes, segment_at(position).depth - 1);
  if (!merged.has_value()) return false;
  const uint32_t index = directory_[entry_of(position)].segment;
  const uint32_t buddy = directory_[entry_of(buddy_position)].segment;
  for (const uint32_t from : {index, buddy}) {
    move_blocks(segments_[from], [&](uint64_t) { return &*merged; });
  }
  drop_memory(&segments_[buddy]);
  free_segments_.push_back(buddy);
  replace_segment(index, std::move(*merged), position);
  halve_directory();
  return true;
}

bool BlockTable::is_sparse(const Segment& segment) const {
  return segment.used < segment.buckets * kBucketSlots / 5 && segment.memory.size() > kPageBytes;
}

// Halves the load's slack and joins the segment with its buddy for as long as both are small.
void BlockTable::shrink(uint64_t position) {
  const auto fitting = [](size_t blocks) { return rounded(blocks * 2 * sizeof(Bucket) / kBucketSlots); };
  for (;;) {
    const Segment& segment = segment_at(position);
    if (segment.depth > 0) {
      const uint64_t buddy_position = position ^ (uint64_t{1} << (64 - segment.depth));
      const Segment& buddy = segment_at(buddy_position);
      const size_t together = fitting(size_t{segment.used} + buddy.used);
      if (buddy.depth == segment.depth && together <= std::max(max_segment_bytes_ / 2, kPageBytes) &&
          merge(position, buddy_position, together)) {
        continue;
      }
    }
    const size_t alone = fitting(segment.used);
    if (alone < segment.memory.size()) resize(position, alone);
    return;
  }
}

void BlockTable::replace_segment(uint32_t index, Segment segment, uint64_t position) {
  ++generation_;
  drop_memory(&segments_[index]);
  segments_[index] = std::move(segment);
  const Segment& placed = segments_[index];
  const uint64_t start = placed.depth == 0 ? 0 : position & ~(~uint64_t{0} >> placed.depth);
  const size_t first = entry_of(start);
  for (size_t at = first; at < first + (size_t{1} << (depth_ - placed.depth)); ++at) {
    directory_[at] = {placed.begin(), placed.buckets, index};
  }
}

void BlockTable::double_directory() {
  const size_t entries = directory_.size();
  directory_.resize(entries * 2);
  ++depth_;
  for (size_t at = entries; at-- > 0;) directory_[2 * at] = directory_[2 * at + 1] = directory_[at];
}

void BlockTable::halve_directory() {
  const auto is_deepest = [this](const Segment& segment) { return segment.depth == depth_; };
  while (depth_ > 0 && std::none_of(segments_.begin(), segments_.end(), is_deepest)) {
    --depth_;
    for (size_t at = 0; at < directory_.size() / 2; ++at) directory_[at] = directory_[2 * at];
    directory_.resize(directory_.size() / 2);
  }
}

}  // namespace dynamo::router
