// The hash table under the prefix index: block hash -> the workers that hold it.
//
// Buckets of one cache line hold four blocks each, the filled ones first; a block that finds its bucket full goes to
// the next one (Knuth, TAOCP 3, 6.4, "buckets"). The table is cut into segments by the leading bits of a block's
// position (Fagin et al. 1979, extendible hashing), each one mapping of its own that grows by half up to 6 MiB and then
// splits: only one segment is ever held twice. Positions are keyed with a secret, so nobody can choose hashes that
// collide. Every segment may take its share of `max_bytes` by the part of the positions it covers, so that at the cap
// all blocks have the same chance; then insertion fails until evict() is called.  Private to the module.  Threads: one.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "kv/block_hash.h"
#include "router/mapped_memory.h"
#include "router/worker_set.h"

namespace dynamo::router {

class BlockTable {
 public:
  static constexpr uint32_t kBucketSlots = 4;
  struct alignas(64) Bucket {
    uint64_t keys[kBucketSlots];
    WorkerSet workers[kBucketSlots];
    bool is_full() const { return !workers[kBucketSlots - 1].is_empty(); }
    // Returns: one bit per slot. Keys of empty slots are stale; they lie behind the filled ones, so the lowest bit
    // counts.
    uint32_t equal_to(uint64_t key) const {
      const auto differs = [&](uint32_t slot) {  // no comparisons: they would become branches that nobody can predict
        const uint64_t difference = keys[slot] ^ key;
        return (difference | (0 - difference)) >> 63;
      };
      return static_cast<uint32_t>(differs(0) | differs(1) << 1 | differs(2) << 2 | differs(3) << 3) ^ 15;
    }
    uint32_t first_empty() const {
      uint32_t slot = 0;
      for (uint32_t before = 0; before < kBucketSlots; ++before) slot += !workers[before].is_empty();
      return slot;
    }
  };
  struct Evicted {
    kv::BlockHash hash;
    WorkerSet workers;
  };
  struct Place {
    WorkerSet* workers = nullptr;  // valid until the next insertion or erasure; nullptr: the segment is full
    bool is_new = false;
  };

  // Requires: max_bytes >= kMinBytes.
  BlockTable(size_t max_bytes, uint64_t secret);
  static constexpr size_t kMinBytes = size_t{64} << 10;

  // The first bucket that may hold `hash`; valid while generation() stays.  Cost: touches no bucket.
  [[gnu::always_inline]] Bucket* home(kv::BlockHash hash) const {
    const uint64_t position = position_of(hash);
    const Entry& entry = directory_[entry_of(position)];
    return entry.begin + bucket_of(position, entry.buckets);
  }
  // Changes when segments move.
  uint64_t generation() const { return generation_; }
  // Brings the bucket to the cache without waiting for it. (always_inline: g++ 12 takes a function that only prefetches
  // for one that does nothing, and deletes the call.)
  [[gnu::always_inline]] static void prefetch(const Bucket* home) { __builtin_prefetch(home); }
  // When the bucket has come: brings the next one too, if finding `hash`, or erasing it, will lead there.
  // Returns: the workers, if the block is in its home; else anything.
  [[gnu::always_inline]] static WorkerSet peek(const Bucket* home, kv::BlockHash hash, bool is_erasing) {
    const uint32_t equal = home->equal_to(hash.bits);
    const uint32_t leads_on = home->is_full() & ((equal == 0) | is_erasing);
    __builtin_prefetch(home + leads_on);
    return home->workers[std::countr_zero(equal | 1u << (kBucketSlots - 1))];
  }
  // Returns: nullptr if unknown; valid until the next insertion or erasure.  Requires: `home` is home(hash).
  WorkerSet* find(Bucket* home, kv::BlockHash hash) const {
    for (Bucket* bucket = home;; bucket = after(bucket, hash)) {
      if (const uint32_t equal = bucket->equal_to(hash.bits); equal != 0) {
        WorkerSet* const workers = &bucket->workers[std::countr_zero(equal)];
        if (!workers->is_empty()) return workers;
      }
      if (!bucket->is_full()) return nullptr;
    }
  }
  // Finds `hash` or enters it with `workers`, which is not empty.  Requires: `home` is home(hash).
  Place insert(Bucket* home, kv::BlockHash hash, WorkerSet workers);
  // Requires: `workers` is what find() or insert() gave for `hash`, and not emptied. May shrink the table.
  void erase(kv::BlockHash hash, WorkerSet* workers);
  // Takes the coldest of the blocks that share a segment with `hash` out of the table, at least one, and appends them.
  // Cost: one step of a clock hand per bucket; a pass over the segment at worst.
  void evict(kv::BlockHash hash, std::vector<Evicted>* out);

  // Calls keep(BlockHash, WorkerSet*) for every block of one segment, the one that covers `position`, for a few twice;
  // erases those for which it returns false, and shrinks the segment if that pays. Returns: the position to go on from;
  // 0: that was the last segment. From 0 to 0 it passes by every block that is there all the while, whatever else
  // happens to the table in between.  Cost: a pass over the segment, at most 6 MiB.
  template <class Keep>
  uint64_t sweep(uint64_t position, Keep keep);

  size_t size() const { return size_; }
  size_t bytes() const { return bytes_; }

 private:
  struct Segment {
    MappedMemory memory;
    uint32_t buckets = 0;
    uint32_t used = 0;
    uint32_t limit = 0;  // blocks it takes before it must grow
    uint32_t depth = 0;  // leading bits that its positions have in common
    uint32_t hand = 0;   // bucket that eviction looks at next
    Bucket* begin() const { return reinterpret_cast<Bucket*>(memory.data()); }
  };
  struct Entry {
    Bucket* begin = nullptr;
    uint32_t buckets = 0;
    uint32_t segment = 0;
  };

  uint64_t position_of(kv::BlockHash hash) const {
    const auto product = static_cast<unsigned __int128>(hash.bits ^ secret_) * factor_;
    return static_cast<uint64_t>(product >> 64) ^ static_cast<uint64_t>(product);
  }
  size_t entry_of(uint64_t position) const { return position >> 1 >> (63 - depth_); }
  static uint32_t bucket_of(uint64_t position, uint32_t buckets) {
    return static_cast<uint32_t>((position & 0xffffffff) * buckets >> 32);
  }
  Bucket* after(Bucket* bucket, kv::BlockHash hash) const {
    const Entry& entry = directory_[entry_of(position_of(hash))];
    return bucket + 1 == entry.begin + entry.buckets ? entry.begin : bucket + 1;
  }
  Segment& segment_at(uint64_t position) { return segments_[directory_[entry_of(position)].segment]; }
  // The first position after the segment that covers `position`; 0 after the last segment.
  uint64_t end_of_segment(uint64_t position);

  std::optional<Segment> new_segment(size_t bytes, uint32_t depth);
  void drop_memory(Segment* segment);
  WorkerSet* place(Segment* segment, uint64_t key, uint64_t position, WorkerSet workers);
  void erase_slot(Segment* segment, uint32_t bucket, uint32_t slot);

  bool make_room(uint64_t position);
  bool resize(uint64_t position, size_t bytes);
  bool split(uint64_t position, size_t child_bytes);
  bool merge(uint64_t position, uint64_t buddy_position, size_t bytes);
  bool is_sparse(const Segment& segment) const;
  void shrink(uint64_t position);
  template <class Choose>
  void move_blocks(const Segment& from, Choose choose);
  void replace_segment(uint32_t index, Segment segment, uint64_t position);
  void double_directory();
  void halve_directory();
  size_t allowed_bytes(uint32_t depth) const;  // for one segment of this depth
  size_t directory_bytes() const { return (sizeof(Entry) + sizeof(Segment) + sizeof(uint32_t)) << max_depth_; }

  const size_t max_bytes_;
  const size_t max_segment_bytes_;
  const uint64_t secret_;
  const uint64_t factor_;
  uint32_t max_depth_ = 0;
  uint32_t depth_ = 0;  // leading bits that index the directory
  std::vector<Entry> directory_;
  std::vector<Segment> segments_;
  std::vector<uint32_t> free_segments_;  // indices without memory
  size_t size_ = 0;
  size_t bytes_ = 0;
  uint64_t generation_ = 0;
};

template <class Keep>
uint64_t BlockTable::sweep(uint64_t position, Keep keep) {
  const uint64_t next = end_of_segment(position);  // before the segment may be merged with one not swept yet
  Segment& segment = segment_at(position);
  for (uint32_t at = 0; at < segment.buckets; ++at) {
    Bucket& bucket = segment.begin()[at];
    for (uint32_t slot = 0; slot < kBucketSlots && !bucket.workers[slot].is_empty();) {
      if (keep(kv::BlockHash{bucket.keys[slot]}, &bucket.workers[slot])) {
        ++slot;
      } else {
        erase_slot(&segment, at, slot);  // another block may have moved here
      }
    }
  }
  if (is_sparse(segment) || segment.used == 0) shrink(position);
  return next;
}

}  // namespace dynamo::router
