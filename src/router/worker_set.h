// The workers that hold one block, in 64 bits: the value half of a table slot.
//
//   bits 0-2  how many workers follow (1-5), or kShared; 0 is the empty set and marks an empty slot
//   bit  3    recent: used since the clock hand of eviction last passed
//   bits 4-63 five lanes of 12 bits, one worker each; or, if kShared, the id of a set in WorkerSets
// Lanes are in order of arrival, so equal bits mean equal sets and unequal bits mean nothing.  Threads: values.
// Private to the module.
#pragma once

#include <bit>
#include <cstdint>

namespace dynamo::router {

inline constexpr uint32_t kMaxWorkers = 4096;

struct WorkerSet {
  static constexpr uint32_t kInline = 5;
  static constexpr uint64_t kShared = 6;
  static constexpr uint64_t kKindMask = 7;
  static constexpr uint64_t kRecent = 8;
  static constexpr uint32_t kLaneBits = 12;

  uint64_t bits = 0;

  static WorkerSet of(uint32_t worker) { return {uint64_t{worker} << 4 | kRecent | 1}; }
  static WorkerSet shared(uint32_t id) { return {uint64_t{id} << 4 | kShared}; }

  bool is_empty() const { return bits == 0; }
  bool is_shared() const { return (bits & kKindMask) == kShared; }
  bool is_recent() const { return (bits & kRecent) != 0; }
  bool is_same(WorkerSet other) const { return ((bits ^ other.bits) & ~kRecent) == 0; }
  uint32_t shared_id() const { return static_cast<uint32_t>(bits >> 4); }

  // The rest is for sets that are not shared.
  uint32_t size() const { return static_cast<uint32_t>(bits & kKindMask); }
  uint32_t worker(uint32_t lane) const { return bits >> (4 + lane * kLaneBits) & (kMaxWorkers - 1); }

  // Returns: the lane of `worker`, or kInline if it is not there.  Cost: constant, all lanes at once.
  uint32_t lane_of(uint32_t worker) const {
    constexpr uint64_t kOnes = 0x0001001001001001;  // the lowest bit of each lane
    constexpr uint64_t kLow = kOnes * 0x7ff;
    const uint64_t differs = (bits >> 4) ^ (worker * kOnes);
    const uint64_t is_zero = ~(((differs & kLow) + kLow) | differs | kLow);  // the highest bit of lanes that are equal
    const uint64_t found = is_zero & ((uint64_t{1} << (size() * kLaneBits)) - 1);
    return found == 0 ? kInline : static_cast<uint32_t>(std::countr_zero(found)) / kLaneBits;
  }
  // Requires: size() < kInline.
  void append(uint32_t worker) { bits = (bits | uint64_t{worker} << (4 + size() * kLaneBits)) + 1; }
  void erase_lane(uint32_t lane) {
    const uint32_t last = size() - 1;
    const uint64_t moved = worker(last);
    bits = (bits & ~(uint64_t{kMaxWorkers - 1} << (4 + last * kLaneBits))) - 1;
    if (lane == last) return;
    bits = (bits & ~(uint64_t{kMaxWorkers - 1} << (4 + lane * kLaneBits))) | moved << (4 + lane * kLaneBits);
  }
};
static_assert(sizeof(WorkerSet) == 8);

}  // namespace dynamo::router
