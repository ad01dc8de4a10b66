// Carries chunks from the thread that makes them to the coroutine that reads them.
//
// One writer thread, one reader coroutine. Chunks not yet read are joined into one, so a slow reader costs the bytes of
// its tokens and nothing more; a sign of life is lost in what it is joined to. Threads: put() and fail() from any thread, never blocking; take() on the reader's
// executor, which must be single-threaded (an I/O thread's io_context) and outlive the mailbox: the last to drop it may be the writer.
#pragma once

#include <memory>
#include <optional>

#include <boost/asio/any_io_executor.hpp>

#include "base/mutex.h"
#include "base/status.h"
#include "base/task.h"
#include "base/timer.h"
#include "generate/generate_request.h"

namespace dynamo {

class ChunkMailbox : public std::enable_shared_from_this<ChunkMailbox> {
 public:
  // `reader` is the executor that take() will be awaited on. `clock` outlives this.
  explicit ChunkMailbox(const boost::asio::any_io_executor& reader, const Clock* clock = &Clock::steady());

  // Adds a chunk; a chunk with `finish` is the last. Ignored after the last or after fail().
  void put(TokenChunk chunk);
  // Ends the stream with a failure, delivered after the chunks already put.
  void fail(Status status);

  // Waits for what has been put since the last take, joined. Errors: what fail() said; kDeadline after `until`.
  Task<Result<TokenChunk>> take(Time until);

 private:
  void wake() REQUIRES(mutex_);
  bool is_ready() const REQUIRES(mutex_) { return pending_.has_value() || !failure_.is_ok(); }

  const Clock* clock_;
  Timer timer_;  // touched on the reader's executor only
  Mutex mutex_;
  std::optional<TokenChunk> pending_ GUARDED_BY(mutex_);
  Status failure_ GUARDED_BY(mutex_);
  bool is_closed_ GUARDED_BY(mutex_) = false;
  bool is_waiting_ GUARDED_BY(mutex_) = false;
};

}  // namespace dynamo
