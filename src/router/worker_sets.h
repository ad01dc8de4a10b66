// The sets of more than five workers, each kept once however many blocks have it.
//
// The blocks of a shared prompt are held by the same workers, so there are as many large sets as there are places where
// prompts part, not as there are blocks. A set is immutable while several blocks have it; a block that gains or loses a
// worker moves to another set, found by its contents, and the blocks after it find the same way ready in `transition_`.
// A set is a mask of its non-empty 64-worker words and those words: 24 bytes + 8 per word, + 4 to find it by.
// Small sets stay in the WorkerSet; this class changes them too, so that its caller need not know.  Threads: one.
// Private to the module.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "router/mapped_memory.h"
#include "router/worker_set.h"

namespace dynamo::router {

class WorkerSets {
 public:
  enum class Change : uint8_t {
    kDone,
    kNothing,   // it was so already
    kLast,      // the worker to remove is the only one; the set is unchanged, and the block should go
    kNoMemory,  // max_bytes is reached; the set is unchanged
  };
  // A shared set. Word i has workers 64 i ..; only words whose bit is in `mask` are there, in order.
  struct Words {
    uint64_t mask;
    const uint64_t* words;
    bool has_no_gap() const { return (mask & (mask + 1)) == 0; }
    uint64_t word(uint32_t index) const { return (mask >> index & 1) == 0 ? 0 : words[rank(mask, index)]; }
  };

  // Requires: max_bytes is a multiple of the page, below 32 GiB.
  explicit WorkerSets(size_t max_bytes);

  Change add(WorkerSet* set, uint32_t worker);
  Change remove(WorkerSet* set, uint32_t worker);
  bool has(WorkerSet set, uint32_t worker) const {
    if (!set.is_shared()) return set.lane_of(worker) != WorkerSet::kInline;
    return (words(set).word(worker / 64) >> (worker % 64) & 1) != 0;
  }
  // Brings a shared set to the cache without waiting for it.
  [[gnu::always_inline]] void prefetch(WorkerSet set) const {
    constexpr uint32_t kLines = 3;  // those of a set of 1,024 workers
    for (uint32_t line = 0; line < kLines; ++line) {
      __builtin_prefetch(memory_.data() + size_t{set.shared_id()} * sizeof(uint64_t) + line * 64);
    }
  }
  // The block of `set` is gone.
  void release(WorkerSet set);
  // Requires: set.is_shared().
  Words words(WorkerSet set) const {
    const Shared* shared = at(set.shared_id());
    return {shared->mask, shared->words()};
  }
  template <class Visit>
  void for_each(WorkerSet set, Visit visit) const;

  size_t size() const { return size_; }
  size_t bytes() const;

  // Returns: how many of the lowest `index` bits of `mask` are set.
  static uint32_t rank(uint64_t mask, uint32_t index) {
    const uint64_t below = (uint64_t{1} << index) - 1;
    return (mask & below) == below ? index : static_cast<uint32_t>(std::popcount(mask & below));
  }

 private:
  static constexpr uint32_t kMaxWords = kMaxWorkers / 64;
  struct Shared {
    uint32_t hash;
    uint32_t blocks;  // that have this set
    uint32_t next;    // set in the same bucket, or 0
    uint32_t length;  // words
    uint64_t mask;
    uint64_t* words() { return reinterpret_cast<uint64_t*>(this + 1); }
    const uint64_t* words() const { return reinterpret_cast<const uint64_t*>(this + 1); }
  };
  static constexpr uint32_t kHeaderWords = sizeof(Shared) / sizeof(uint64_t);
  // A set outside, to be changed.
  struct Draft {
    uint32_t hash = 0;
    uint32_t length = 0;
    uint64_t mask = 0;
    std::array<uint64_t, kMaxWords> words;
    void flip(uint32_t worker);
    uint32_t count_to(uint32_t limit) const;
  };
  struct Transition {
    WorkerSet from;
    uint32_t worker = 0;
    WorkerSet to;
  };

  Shared* at(uint32_t id) const { return reinterpret_cast<Shared*>(memory_.data() + size_t{id} * sizeof(uint64_t)); }
  Change flip(WorkerSet* set, uint32_t worker);
  void move_to(WorkerSet* set, WorkerSet to);
  void draft(WorkerSet set, Draft* out) const;
  static WorkerSet small(const Draft& draft);
  uint32_t intern(const Draft& draft, uint32_t previous);
  uint32_t find(const Draft& draft) const;
  uint32_t* bucket(uint32_t hash) const;
  uint32_t allocate(uint32_t words);
  void free_cell(uint32_t id, uint32_t words);
  void link(uint32_t id);
  void unlink(uint32_t id);
  void grow_buckets();
  void forget(WorkerSet set);

  const size_t max_bytes_;
  MappedMemory memory_;                                        // cells; an id is an offset in 8 bytes, never 0
  MappedMemory buckets_;                                       // first set of each chain, by hash; a power of two
  uint32_t end_ = 1;                                           // memory_ is used up to here
  std::array<uint32_t, kMaxWords + kHeaderWords + 1> free_{};  // first free cell by words, linked through `next`
  size_t size_ = 0;
  Transition transition_;
};

template <class Visit>
void WorkerSets::for_each(WorkerSet set, Visit visit) const {
  if (!set.is_shared()) {
    for (uint32_t lane = 0; lane < set.size(); ++lane) visit(set.worker(lane));
    return;
  }
  const auto [mask, words] = this->words(set);
  uint32_t index = 0;
  for (uint64_t rest = mask; rest != 0; rest &= rest - 1) {
    const auto first = static_cast<uint32_t>(std::countr_zero(rest)) * 64;
    for (uint64_t bits = words[index++]; bits != 0; bits &= bits - 1) {
      visit(first + static_cast<uint32_t>(std::countr_zero(bits)));
    }
  }
}

}  // namespace dynamo::router
