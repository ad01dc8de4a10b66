#include "router/prefix_index.h"

#include <algorithm>
#include <bit>

#include <boost/unordered/unordered_flat_set.hpp>

#include "base/check.h"
#include "base/random.h"

// A lambda that a table calls, which knows of no lock.
#define CALLED_UNDER_LOCK DYNAMO_THREAD_ATTRIBUTE(no_thread_safety_analysis)

namespace dynamo::router {
namespace {

constexpr size_t kFetchedAhead = 32;     // blocks whose buckets are on their way
constexpr size_t kPeekedAhead = 8;       // blocks whose buckets are there, and what they point to on its way
constexpr size_t kMaxEvictedOnce = 128;  // what one BlockTable::evict() may give, with room
constexpr size_t kWorkerBytes = 32;
constexpr size_t kPiece = 512;  // blocks that are stored or removed before a waiting match gets its turn

size_t page_floor(size_t bytes) {
  return bytes / kPageBytes * kPageBytes;
}

size_t set_bytes(const PrefixIndex::Options& options) {
  return page_floor(options.max_bytes / 8);
}

size_t fixed_bytes(const PrefixIndex::Options& options) {
  return options.max_workers * kWorkerBytes + kMaxEvictedOnce * sizeof(BlockTable::Evicted);
}

size_t table_bytes(const PrefixIndex::Options& options) {
  CHECK(options.max_bytes >= size_t{512} << 10 && options.max_bytes <= size_t{256} << 30);
  CHECK(options.max_workers >= 1 && options.max_workers <= kMaxWorkers);
  return page_floor(options.max_bytes - set_bytes(options) - fixed_bytes(options));
}

uint64_t secret_of(const PrefixIndex::Options& options) {
  if (options.secret != 0) return options.secret;
  return random_number();
}

}  // namespace

PrefixIndex::PrefixIndex(Options options)
    : options_(options), table_(table_bytes(options), secret_of(options)), sets_(set_bytes(options)) {
  static_assert(sizeof(Worker) + sizeof(uint32_t) <= kWorkerBytes);
  workers_.reserve(options_.max_workers);
  free_workers_.reserve(options_.max_workers);
  evicted_.reserve(kMaxEvictedOnce);
}

size_t PrefixIndex::workers() const {
  const FairMutexLock lock(mutex_);
  return workers_.size() - free_workers_.size();
}

size_t PrefixIndex::distinct_blocks() const {
  const FairMutexLock lock(mutex_);
  return table_.size();
}

size_t PrefixIndex::bytes() const {
  const FairMutexLock lock(mutex_);
  return table_.bytes() + sets_.bytes() + fixed_bytes(options_);
}

PrefixIndex::Counts PrefixIndex::counts() const {
  const FairMutexLock lock(mutex_);
  return counts_;
}

PrefixIndex::Worker PrefixIndex::known_of(WorkerSlot worker) const {
  const FairMutexLock lock(mutex_);
  return worker_at(worker);
}

const PrefixIndex::Worker& PrefixIndex::worker_at(WorkerSlot worker) const {
  CHECK(worker.index < workers_.size() && workers_[worker.index].is_live);
  return workers_[worker.index];
}

PrefixIndex::Worker& PrefixIndex::worker_at(WorkerSlot worker) {
  CHECK(worker.index < workers_.size() && workers_[worker.index].is_live);
  return workers_[worker.index];
}

Result<WorkerSlot> PrefixIndex::add_worker() {
  const FairMutexLock lock(mutex_);
  uint32_t index = static_cast<uint32_t>(workers_.size());
  if (!free_workers_.empty()) {
    index = free_workers_.back();
    free_workers_.pop_back();
  } else if (index < options_.max_workers) {
    workers_.emplace_back();
  } else {
    return exhausted("the prefix index has as many workers as it may");
  }
  workers_[index] = Worker{.is_live = true};
  return WorkerSlot{index};
}

void PrefixIndex::remove_worker(WorkerSlot worker) {
  clear(worker);
  const FairMutexLock lock(mutex_);
  workers_[worker.index] = Worker();
  free_workers_.push_back(worker.index);
}

// Calls visit(block, its home) for each until it returns false, while the memory that the next ones need is fetched.
template <class Visit>
void PrefixIndex::for_each_ahead(std::span<const kv::BlockHash> blocks, bool is_erasing, Visit visit) const {
  std::array<BlockTable::Bucket*, kFetchedAhead> homes;
  uint64_t generation = table_.generation();
  size_t fetched = 0;
  size_t peeked = 0;
  WorkerSet previous;
  for (size_t at = 0; at < blocks.size(); ++at) {
    if (table_.generation() != generation) [[unlikely]] {
      generation = table_.generation();
      fetched = peeked = at;
    }
    for (const size_t end = std::min(at + kFetchedAhead, blocks.size()); fetched < end; ++fetched) {
      BlockTable::Bucket* const home = homes[fetched % kFetchedAhead] = table_.home(blocks[fetched]);
      BlockTable::prefetch(home);
    }
    for (const size_t end = std::min(at + kPeekedAhead, blocks.size()); peeked < end; ++peeked) {
      const WorkerSet workers = BlockTable::peek(homes[peeked % kFetchedAhead], blocks[peeked], is_erasing);
      if (workers.is_shared() && !workers.is_same(previous)) sets_.prefetch(previous = workers);
    }
    if (!visit(blocks[at], homes[at % kFetchedAhead])) return;
  }
}

// Calls piece(blocks) under the lock for one piece of the blocks after the other.
template <class Piece>
void PrefixIndex::in_pieces(WorkerSlot worker, std::span<const kv::BlockHash> blocks, Piece piece) {
  while (!blocks.empty()) {
    const auto some = blocks.first(std::min(kPiece, blocks.size()));
    const FairMutexLock lock(mutex_);
    CHECK(worker_at(worker).is_live);
    piece(some);
    blocks = blocks.subspan(some.size());
  }
}

void PrefixIndex::store(WorkerSlot worker, std::span<const kv::BlockHash> blocks) {
  in_pieces(worker, blocks, [&](std::span<const kv::BlockHash> some) REQUIRES(mutex_) {
    for_each_ahead(some, /*is_erasing=*/false, [&](kv::BlockHash block, BlockTable::Bucket* home) REQUIRES(mutex_) {
      store_block(worker, block, home);
      return true;
    });
  });
}

void PrefixIndex::store_block(WorkerSlot slot, kv::BlockHash block, BlockTable::Bucket* home) {
  BlockTable::Place place = table_.insert(home, block, WorkerSet::of(slot.index));
  while (place.workers == nullptr) {
    evict_near(block);
    place = table_.insert(home, block, WorkerSet::of(slot.index));
  }
  Worker& worker = workers_[slot.index];
  if (!place.is_new) {
    place.workers->bits |= WorkerSet::kRecent;
    const WorkerSets::Change change = sets_.add(place.workers, slot.index);
    if (change == WorkerSets::Change::kNothing) {
      ++counts_.stored_again;
      return;
    }
    if (change == WorkerSets::Change::kNoMemory) {
      ++counts_.refused;
      worker.is_complete = false;
      return;
    }
  }
  worker.digest += block.bits;
  ++worker.blocks;
}

void PrefixIndex::evict_near(kv::BlockHash block) {
  evicted_.clear();
  table_.evict(block, &evicted_);
  counts_.evicted += evicted_.size();
  for (const auto& [hash, workers] : evicted_) {
    sets_.for_each(workers, [&](uint32_t worker) CALLED_UNDER_LOCK { lose({worker}, hash, /*was_told=*/false); });
    sets_.release(workers);
  }
}

void PrefixIndex::lose(WorkerSlot slot, kv::BlockHash block, bool was_told) {
  Worker& worker = workers_[slot.index];
  worker.digest -= block.bits;
  --worker.blocks;
  worker.is_complete = worker.is_complete && was_told;
}

void PrefixIndex::remove(WorkerSlot worker, std::span<const kv::BlockHash> blocks) {
  in_pieces(worker, blocks, [&](std::span<const kv::BlockHash> some) REQUIRES(mutex_) {
    for_each_ahead(some, /*is_erasing=*/true, [&](kv::BlockHash block, BlockTable::Bucket* home) REQUIRES(mutex_) {
      remove_block(worker, block, home);
      return true;
    });
  });
}

void PrefixIndex::remove_block(WorkerSlot slot, kv::BlockHash block, BlockTable::Bucket* home) {
  WorkerSet* const workers = table_.find(home, block);
  if (workers == nullptr) {
    ++counts_.removed_absent;
    return;
  }
  switch (sets_.remove(workers, slot.index)) {
    case WorkerSets::Change::kNothing:
      ++counts_.removed_absent;
      return;
    case WorkerSets::Change::kLast:
      table_.erase(block, workers);
      break;
    case WorkerSets::Change::kNoMemory:
      forget_block(slot, block, *workers);
      table_.erase(block, workers);
      return;
    case WorkerSets::Change::kDone:
      break;
  }
  lose(slot, block, /*was_told=*/true);
}

// The worker holds no other blocks than those that is_kept(block) names, and is complete in what it holds of them.
template <class IsKept>
void PrefixIndex::keep_only(WorkerSlot worker, IsKept is_kept) {
  uint64_t position = 0;
  do {
    const FairMutexLock lock(mutex_);
    if (worker_at(worker).blocks == 0) break;
    position = table_.sweep(position, [&](kv::BlockHash block, WorkerSet* workers) CALLED_UNDER_LOCK {
      return !sets_.has(*workers, worker.index) || is_kept(block) || !drop(worker, block, workers);
    });
  } while (position != 0);
  const FairMutexLock lock(mutex_);
  worker_at(worker).is_complete = true;
}

void PrefixIndex::clear(WorkerSlot worker) {
  keep_only(worker, [](kv::BlockHash) { return false; });
  const FairMutexLock lock(mutex_);
  CHECK(worker_at(worker).blocks == 0 && worker_at(worker).digest == 0);
}

// Rather no claim than a wrong one: without memory for the set that is left, all its workers lose the block.
void PrefixIndex::forget_block(WorkerSlot leaving, kv::BlockHash block, WorkerSet workers) {
  ++counts_.evicted;
  sets_.for_each(
      workers, [&](uint32_t worker) CALLED_UNDER_LOCK { lose({worker}, block, /*was_told=*/worker == leaving.index); });
  sets_.release(workers);
}

// The worker no longer holds the block. Returns: whether nobody does, so that it goes out of the table.
bool PrefixIndex::drop(WorkerSlot slot, kv::BlockHash block, WorkerSet* workers) {
  switch (sets_.remove(workers, slot.index)) {
    case WorkerSets::Change::kNothing:
      return false;
    case WorkerSets::Change::kDone:
      lose(slot, block, /*was_told=*/true);
      return false;
    case WorkerSets::Change::kNoMemory:
      forget_block(slot, block, *workers);
      return true;
    case WorkerSets::Change::kLast:
      break;
  }
  lose(slot, block, /*was_told=*/true);
  return true;
}

void PrefixIndex::replace(WorkerSlot worker, std::span<const kv::BlockHash> all) {
  boost::unordered_flat_set<kv::BlockHash, std::hash<kv::BlockHash>> kept;
  if (blocks(worker) > 0) kept.insert(all.begin(), all.end());
  keep_only(worker, [&](kv::BlockHash block) { return kept.contains(block); });
  store(worker, all);
}

void PrefixIndex::match(std::span<const kv::BlockHash> chain, std::vector<MatchedWorker>* out) {
  out->clear();
  Candidates candidates;
  WorkerSet previous;
  uint32_t depth = 0;
  const FairMutexLock lock(mutex_);
  for_each_ahead(chain, /*is_erasing=*/false, [&](kv::BlockHash block, BlockTable::Bucket* home) REQUIRES(mutex_) {
    WorkerSet* const workers = table_.find(home, block);
    if (workers == nullptr) return false;
    if (!workers->is_recent()) workers->bits |= WorkerSet::kRecent;
    if (!workers->is_same(previous)) {
      previous = *workers;
      if (depth == 0) {
        start(previous, &candidates);
      } else {
        narrow(previous, depth, &candidates, out);
      }
      if (candidates.mask == 0) return false;
    }
    ++depth;
    return true;
  });
  if (depth > 0) narrow(WorkerSet(), depth, &candidates, out);
}

void PrefixIndex::start(WorkerSet first, Candidates* candidates) const {
  sets_.for_each(first, [&](uint32_t worker) {
    const uint64_t bit = uint64_t{1} << (worker / 64);
    if ((candidates->mask & bit) == 0) candidates->words[worker / 64] = 0;
    candidates->mask |= bit;
    candidates->words[worker / 64] |= uint64_t{1} << (worker % 64);
  });
}

// Keeps those who are in `set` too; the others held `depth` blocks and go to `out`.
void PrefixIndex::narrow(WorkerSet set, uint32_t depth, Candidates* candidates, std::vector<MatchedWorker>* out) const {
  const auto narrow_word = [&](uint32_t index, uint64_t held) {
    uint64_t& word = candidates->words[index];
    const uint64_t gone = word & ~held;
    if (gone == 0) return;
    word &= held;
    if (word == 0) candidates->mask &= ~(uint64_t{1} << index);
    for (uint64_t rest = gone; rest != 0; rest &= rest - 1) {
      out->push_back({{index * 64 + static_cast<uint32_t>(std::countr_zero(rest))}, depth});
    }
  };
  WorkerSets::Words held{};
  Candidates few;
  if (set.is_shared()) {
    held = sets_.words(set);
    if (held.mask == candidates->mask && held.has_no_gap()) {
      const auto count = static_cast<uint32_t>(std::popcount(held.mask));
      for (uint32_t index = 0; index < count; ++index) narrow_word(index, held.words[index]);
      return;
    }
  } else {
    start(set, &few);
  }
  for (uint64_t rest = candidates->mask; rest != 0; rest &= rest - 1) {
    const auto index = static_cast<uint32_t>(std::countr_zero(rest));
    const uint64_t word = (few.mask >> index & 1) == 0 ? 0 : few.words[index];
    narrow_word(index, set.is_shared() ? held.word(index) : word);
  }
}

}  // namespace dynamo::router
