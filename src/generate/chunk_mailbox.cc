#include "generate/chunk_mailbox.h"

#include <boost/asio/post.hpp>

namespace dynamo {

ChunkMailbox::ChunkMailbox(const boost::asio::any_io_executor& reader, const Clock* clock)
    : clock_(clock), timer_(clock, reader) {}

void ChunkMailbox::put(TokenChunk chunk) {
  MutexLock lock(mutex_);
  if (is_closed_) return;
  is_closed_ = chunk.finish.has_value();
  if (pending_) {
    append(std::move(chunk), &*pending_);
  } else {
    pending_ = std::move(chunk);
  }
  wake();
}

void ChunkMailbox::fail(Status status) {
  MutexLock lock(mutex_);
  if (is_closed_) return;
  is_closed_ = true;
  failure_ = std::move(status);
  wake();
}

void ChunkMailbox::wake() {
  if (!is_waiting_) return;
  is_waiting_ = false;
  boost::asio::post(timer_.executor(), [self = shared_from_this()] { self->timer_.wake(); });
}

Task<Result<TokenChunk>> ChunkMailbox::take(Time until) {
  for (;;) {
    {
      MutexLock lock(mutex_);
      if (pending_) {
        TokenChunk chunk = std::move(*pending_);
        pending_.reset();
        co_return chunk;
      }
      if (!failure_.is_ok()) co_return failure_;
      if (clock_->now() >= until) co_return deadline("the request's time ran out");
      is_waiting_ = true;  // a put() that follows posts its wake behind the wait, on the same executor
    }
    co_await timer_.wait(until);
  }
}

}  // namespace dynamo
