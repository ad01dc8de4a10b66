// Who may still write into a pool: one permit for each hand-off, which its owner closes, also to writers in other processes.
//
// A writer says in shared memory under which permit it is about to write, then looks whether that one is open, then writes. Who has
// closed a permit then looks whether a writer says that it is at it. One of the two sees the other, so once a closed permit is not
// being used nothing lands under it any more, however long a writer was stopped in between (hazard pointers: Michael, "Hazard
// Pointers", IEEE TPDS 2004). A writer that is killed is taken out by the backend that it was connected to.
//
//   memory   kMostOpen words: the permit that is open at its place, or 0 | kMostWriters cache lines: what a writer is writing under, or 0
//   permit   its place in the low bits, the rest drawn at random: not to be guessed, never the same twice
//
// Writers are trusted as far as with the pool itself, which they map too.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <random>
#include <vector>

#include "base/mutex.h"
#include "base/shared_memory.h"
#include "base/status.h"
#include "transfer/kv_transport.h"

namespace dynamo::transfer {

// A writer's view of somebody's permits.  Threads: one.
class PermitWriter {
 public:
  // Of a pool without permits: all may write.
  PermitWriter() = default;
  // `table` is the permits' memory; `number` is what WritePermits::add_writer() gave.
  PermitWriter(std::byte* table, uint32_t number) : table_(table), number_(number) {}

  // Returns: whether writing under it is allowed, until end(). Requires: end() comes before the next.
  bool begin(PermitId permit);
  // Nothing without a begin().
  void end();

 private:
  std::byte* table_ = nullptr;
  uint32_t number_ = 0;
};

// The owner's.  Threads: any.
class WritePermits {
 public:
  static constexpr size_t kMostOpen = 1U << 14;
  static constexpr size_t kMostWriters = 1U << 10;
  static constexpr size_t kMappedBytes = kMostOpen * 8 + kMostWriters * 64;

  // Errors: kExhausted.
  static Result<std::unique_ptr<WritePermits>> create();

  // Returns: kNoPermit if kMostOpen are open.
  PermitId open();
  // Requires: open() gave it, and it was not closed before.
  void close(PermitId permit);
  // Of a closed one: whether a write that began before goes on.
  bool is_used(PermitId permit) const;

  // Returns: nothing if there are kMostWriters.
  std::optional<uint32_t> add_writer();
  // Requires: it writes no more.
  void remove_writer(uint32_t number);
  PermitWriter writer(uint32_t number) { return {memory_.data(), number}; }
  int fd() const { return memory_.fd(); }

 private:
  explicit WritePermits(SharedMemory memory);

  SharedMemory memory_;
  Mutex mutex_;
  std::mt19937_64 random_ GUARDED_BY(mutex_);
  std::vector<PermitId> open_ GUARDED_BY(mutex_);  // by place; the memory itself is others' too
  std::vector<uint32_t> free_places_ GUARDED_BY(mutex_);
  std::vector<uint32_t> free_writers_ GUARDED_BY(mutex_);
};

}  // namespace dynamo::transfer
