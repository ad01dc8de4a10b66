#include "router/worker_sets.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/check.h"

namespace dynamo::router {
namespace {

// Sums of these tell sets apart; murmur3's finalizer.
uint32_t hash_of(uint32_t worker) {
  uint64_t bits = (uint64_t{worker} + 1) * 0x9e3779b97f4a7c15;
  bits = (bits ^ bits >> 33) * 0xff51afd7ed558ccd;
  return static_cast<uint32_t>(bits >> 32);
}

constexpr size_t kFirstBuckets = kPageBytes / sizeof(uint32_t);

}  // namespace

WorkerSets::WorkerSets(size_t max_bytes) : max_bytes_(max_bytes), memory_(MappedMemory::reserve(max_bytes)) {
  CHECK(max_bytes / sizeof(uint64_t) <= ~uint32_t{0} && max_bytes >= 2 * kPageBytes);
  buckets_ = MappedMemory::map(kFirstBuckets * sizeof(uint32_t));
  CHECK(!memory_.is_empty() && !buckets_.is_empty());
}

size_t WorkerSets::bytes() const {
  const size_t used = size_t{end_} * sizeof(uint64_t);
  const size_t page = used <= kHugePageBytes ? kPageBytes : kHugePageBytes;  // as MappedMemory::reserve() has them
  return std::min((used + page - 1) / page * page, memory_.size()) + buckets_.size();
}

WorkerSets::Change WorkerSets::add(WorkerSet* set, uint32_t worker) {
  if (has(*set, worker)) return Change::kNothing;
  if (set->is_shared() || set->size() == WorkerSet::kInline) return flip(set, worker);
  set->append(worker);
  return Change::kDone;
}

WorkerSets::Change WorkerSets::remove(WorkerSet* set, uint32_t worker) {
  if (set->is_shared()) return has(*set, worker) ? flip(set, worker) : Change::kNothing;
  const uint32_t lane = set->lane_of(worker);
  if (lane == WorkerSet::kInline) return Change::kNothing;
  if (set->size() == 1) return Change::kLast;
  set->erase_lane(lane);
  return Change::kDone;
}

// Adds the worker if it is not in the set, else removes it.
WorkerSets::Change WorkerSets::flip(WorkerSet* set, uint32_t worker) {
  const WorkerSet from = *set;
  if (transition_.worker == worker && transition_.from.is_same(from)) {
    if (transition_.to.is_shared()) ++at(transition_.to.shared_id())->blocks;
    move_to(set, transition_.to);
    return Change::kDone;
  }
  Draft changed;
  draft(from, &changed);
  changed.flip(worker);
  WorkerSet to;
  if (changed.count_to(WorkerSet::kInline + 1) <= WorkerSet::kInline) {
    to = small(changed);
  } else {
    const uint32_t id = intern(changed, from.is_shared() ? from.shared_id() : 0);
    if (id == 0) return Change::kNoMemory;
    to = WorkerSet::shared(id);
  }
  if (to.is_same(from)) return Change::kDone;  // changed where it lies
  transition_ = {from, worker, to};
  move_to(set, to);
  return Change::kDone;
}

void WorkerSets::move_to(WorkerSet* set, WorkerSet to) {
  const WorkerSet from = *set;
  set->bits = (to.bits & ~WorkerSet::kRecent) | (from.bits & WorkerSet::kRecent);
  release(from);
}

void WorkerSets::release(WorkerSet set) {
  if (!set.is_shared()) return;
  Shared* const shared = at(set.shared_id());
  if (--shared->blocks > 0) return;
  forget(set);
  unlink(set.shared_id());
  free_cell(set.shared_id(), kHeaderWords + shared->length);
  if (--size_ > 0) return;
  memory_.discard();
  end_ = 1;
  free_.fill(0);
  if (buckets_.size() > kPageBytes) {
    if (MappedMemory small = MappedMemory::map(kPageBytes); !small.is_empty()) buckets_ = std::move(small);
  }
}

void WorkerSets::forget(WorkerSet set) {
  if (transition_.from.is_same(set) || transition_.to.is_same(set)) transition_ = Transition();
}

void WorkerSets::Draft::flip(uint32_t worker) {
  const uint32_t index = worker / 64;
  const uint64_t index_bit = uint64_t{1} << index;
  const uint64_t bit = uint64_t{1} << (worker % 64);
  const uint32_t place = rank(mask, index);
  auto* const word = words.begin() + place;
  if ((mask & index_bit) == 0) {
    std::copy_backward(word, words.begin() + length, words.begin() + length + 1);
    *word = 0;
    ++length;
    mask |= index_bit;
  }
  hash += (*word & bit) == 0 ? hash_of(worker) : 0 - hash_of(worker);
  *word ^= bit;
  if (*word == 0) {
    std::copy(word + 1, words.begin() + length, word);
    --length;
    mask &= ~index_bit;
  }
}

// Returns: the number of workers, or `limit` if there are more.
uint32_t WorkerSets::Draft::count_to(uint32_t limit) const {
  uint32_t count = 0;
  for (uint32_t index = 0; index < length && count < limit; ++index) {
    for (uint64_t bits = words[index]; bits != 0 && count < limit; bits &= bits - 1) ++count;
  }
  return count;
}

void WorkerSets::draft(WorkerSet set, Draft* out) const {
  if (!set.is_shared()) {
    for (uint32_t lane = 0; lane < set.size(); ++lane) out->flip(set.worker(lane));
    return;
  }
  const Shared* const shared = at(set.shared_id());
  out->hash = shared->hash;
  out->length = shared->length;
  out->mask = shared->mask;
  std::copy_n(shared->words(), shared->length, out->words.begin());
}

WorkerSet WorkerSets::small(const Draft& draft) {
  WorkerSet set;
  uint32_t index = 0;
  for (uint64_t rest = draft.mask; rest != 0; rest &= rest - 1) {
    const auto first = static_cast<uint32_t>(std::countr_zero(rest)) * 64;
    for (uint64_t bits = draft.words[index++]; bits != 0; bits &= bits - 1) {
      set.append(first + static_cast<uint32_t>(std::countr_zero(bits)));
    }
  }
  return set;
}

// Returns: a set equal to `draft` with one block more, or 0 without memory. `previous`, if not 0, is changed in place
// if only one block has it and it has the right size.
uint32_t WorkerSets::intern(const Draft& draft, uint32_t previous) {
  if (const uint32_t id = find(draft); id != 0) {
    ++at(id)->blocks;
    return id;
  }
  uint32_t id = previous;
  if (previous != 0 && at(previous)->blocks == 1 && at(previous)->length == draft.length) {
    forget(WorkerSet::shared(previous));
    unlink(previous);
  } else {
    id = allocate(kHeaderWords + draft.length);
    if (id == 0) return 0;
    at(id)->blocks = 1;
    ++size_;
  }
  Shared* const shared = at(id);
  shared->hash = draft.hash;
  shared->length = draft.length;
  shared->mask = draft.mask;
  std::copy_n(draft.words.begin(), draft.length, shared->words());
  link(id);
  if (size_ > buckets_.size() / sizeof(uint32_t)) grow_buckets();
  return id;
}

uint32_t* WorkerSets::bucket(uint32_t hash) const {
  return reinterpret_cast<uint32_t*>(buckets_.data()) + (hash & (buckets_.size() / sizeof(uint32_t) - 1));
}

uint32_t WorkerSets::find(const Draft& draft) const {
  uint32_t id = *bucket(draft.hash);
  while (id != 0) {
    const Shared* const shared = at(id);
    if (shared->hash == draft.hash && shared->mask == draft.mask &&
        std::equal(shared->words(), shared->words() + shared->length, draft.words.begin())) {
      return id;
    }
    id = shared->next;
  }
  return 0;
}

void WorkerSets::link(uint32_t id) {
  uint32_t* const first = bucket(at(id)->hash);
  at(id)->next = *first;
  *first = id;
}

void WorkerSets::unlink(uint32_t id) {
  uint32_t* link = bucket(at(id)->hash);
  while (*link != id) link = &at(*link)->next;
  *link = at(id)->next;
}

// Without memory for it the chains just get longer.
void WorkerSets::grow_buckets() {
  if (bytes() + 2 * buckets_.size() > max_bytes_) return;
  MappedMemory larger = MappedMemory::map(buckets_.size() * 2);
  if (larger.is_empty()) return;
  const MappedMemory old = std::exchange(buckets_, std::move(larger));
  for (uint32_t id : std::span(reinterpret_cast<const uint32_t*>(old.data()), old.size() / sizeof(uint32_t))) {
    while (id != 0) {
      const uint32_t next = at(id)->next;
      link(id);
      id = next;
    }
  }
}

// Takes a free cell of that size, then new memory, then a piece of a larger free cell.
uint32_t WorkerSets::allocate(uint32_t words) {
  uint32_t from = words;
  if (free_[words] == 0) {
    const size_t grown = (size_t{end_} + words) * sizeof(uint64_t);
    if ((grown + kPageBytes - 1) / kPageBytes * kPageBytes + buckets_.size() <= max_bytes_) {
      const uint32_t id = end_;
      end_ += words;
      return id;
    }
    from = words + kHeaderWords + 1;  // what is left over must be a cell itself
    while (from < free_.size() && free_[from] == 0) ++from;
    if (from >= free_.size()) return 0;
  }
  const uint32_t id = free_[from];
  free_[from] = at(id)->next;
  if (from > words) free_cell(id + words, from - words);
  return id;
}

void WorkerSets::free_cell(uint32_t id, uint32_t words) {
  at(id)->next = free_[words];
  free_[words] = id;
}

}  // namespace dynamo::router
