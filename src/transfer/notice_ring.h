// Notifications of one sender on their way to one receiver, in memory that both map. One ring per sender: one that is killed in the
// middle of a write leaves the rings of the others whole, and its own up to the last piece that it published.
//
//   page 0  u64 written | u64 taken | u32 is_reader_asleep | u32 is_writer_waiting, a cache line each      then kBytes of pieces
//   stream  u32 length | bytes, one notification after another; a long one passes in pieces as room comes
//
// What the other side wrote is not trusted: bad counters and lengths are kCorrupt, never an access outside the ring.
// Threads: one writer, one reader; each object is one of the two.  Private to the module.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/shared_memory.h"
#include "base/status.h"

namespace dynamo::transfer {

class NoticeRing {
 public:
  static constexpr size_t kBytes = 64U << 10;
  static constexpr size_t kMappedBytes = kBytes + 4096;

  // Zeroed memory of kMappedBytes. Both sides take one of their own over the same memfd.
  explicit NoticeRing(SharedMemory memory);

  // Writer. Puts as much as there is room for of `bytes`, and returns how much.
  size_t write(std::string_view bytes);
  // Writer, after a write. Returns: whether the reader has to be woken.
  bool wakes_reader();
  // Writer, before it waits for room. Returns: whether there is none.
  bool waits_for_room();
  uint64_t taken() const;

  // Reader. Appends whole notifications to `out`. Errors: kCorrupt.
  Status read(std::vector<std::string>* out);
  bool is_empty() const;
  // Reader. Returns: false if there is something to read.
  bool try_sleep();
  void wake_up();
  // Reader, after a read. Returns: whether the writer has to be told that there is room.
  bool wakes_writer();

  int fd() const { return memory_.fd(); }

 private:
  struct Header;
  Header& header() const;
  std::byte* pieces() const { return memory_.data() + 4096; }

  SharedMemory memory_;
  uint64_t mine_ = 0;       // what this side has written or taken; the shared counter is only its copy
  std::string unfinished_;  // reader: length and bytes of a notification that is not whole
};

}  // namespace dynamo::transfer
