// Writes text to a descriptor on a thread of its own, so that who logs never waits for who reads.
//
//   push() ─▶ queue, bounded ─▶ the thread ─▶ a pipe, a file, a terminal
//
// What does not fit is dropped and counted, and so is what cannot be written (the reader has gone, the disk is full); a line says
// how many, in their place, as soon as lines can be written again. Whole texts are written together up to PIPE_BUF, so those of several
// processes do not mix in a pipe.  Private to the module.  Threads: any.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <thread>

#include "base/clock.h"
#include "base/mutex.h"

namespace dynamo::log {

class LogWriter {
 public:
  // What the queue takes, text and overhead.
  static constexpr size_t kMostBytes = size_t{1} << 20;

  // `fd` stays the caller's. `dropped_note` makes the line that says how many were dropped. The thread starts with the first push().
  LogWriter(int fd, std::string (*dropped_note)(uint64_t lines), size_t most_bytes = kMostBytes);
  // Waits until all is written. Requires: `fd` is read, or its reader has gone.
  ~LogWriter();
  LogWriter(const LogWriter&) = delete;
  LogWriter& operator=(const LogWriter&) = delete;

  // Takes a line with its end, or a piece of what a terminal shows. Once one was dropped all are, until half the queue is free.
  // Cost: a copy into the queue; never a wait for `fd`.
  void push(std::string text);
  // Waits until all that was pushed before is written or dropped. Returns: whether that was so before `until`.
  bool flush(Time until);
  // Texts dropped so far.
  uint64_t dropped() const;

 private:
  struct Entry {
    std::string text;
    uint64_t notes = 0;  // that so many were dropped; 0: no note
    size_t cost() const { return text.capacity() + sizeof(Entry); }
  };

  void append(Entry entry) REQUIRES(mutex_);
  // Queues the note, if there is anything to say.
  void note_dropped() REQUIRES(mutex_);
  // Takes from the queue what goes into one write, writes it without the lock, and counts what came of it.
  void write_batch() REQUIRES(mutex_);
  bool start() REQUIRES(mutex_);
  void run();

  const int fd_;
  std::string (*const dropped_note_)(uint64_t lines);
  const size_t most_bytes_;
  mutable Mutex mutex_;
  std::condition_variable_any wake_;      // the thread: something was pushed, or the end
  std::condition_variable_any finished_;  // flush(): a batch was written
  std::deque<Entry> queue_ GUARDED_BY(mutex_);
  size_t queued_bytes_ GUARDED_BY(mutex_) = 0;
  uint64_t appended_ GUARDED_BY(mutex_) = 0;  // entries
  uint64_t done_ GUARDED_BY(mutex_) = 0;      // of these, written or dropped
  uint64_t dropped_ GUARDED_BY(mutex_) = 0;
  uint64_t unsaid_ GUARDED_BY(mutex_) = 0;  // of these, not said yet
  bool is_overrun_ GUARDED_BY(mutex_) = false;
  bool can_write_ GUARDED_BY(mutex_) = true;   // as the last write showed
  bool broke_off_ GUARDED_BY(mutex_) = false;  // within a line
  bool is_idle_ GUARDED_BY(mutex_) = false;
  bool is_ending_ GUARDED_BY(mutex_) = false;
  std::unique_ptr<std::thread> thread_ GUARDED_BY(mutex_);
};

}  // namespace dynamo::log
