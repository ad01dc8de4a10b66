#include "generate/chunk_mailbox.h"

#include <boost/asio/post.hpp>

#include <iterator>

namespace dynamo {
namespace {

template <class T>
void append(std::vector<T>& to, std::vector<T>&& from) {
  to.insert(to.end(), std::make_move_iterator(from.begin()), std::make_move_iterator(from.end()));
}

}  // namespace

ChunkMailbox::ChunkMailbox(const boost::asio::any_io_executor& reader, const Clock* clock)
    : clock_(clock), timer_(clock, reader) {}

void ChunkMailbox::put(TokenChunk chunk) {
  MutexLock lock(mutex_);
  if (is_closed_) return;
  is_closed_ = chunk.finish.has_value();
  if (!pending_ || pending_->is_sign_of_life()) {
    pending_ = std::move(chunk);
  } else {
    append(pending_->tokens, std::move(chunk.tokens));
    append(pending_->logprobs, std::move(chunk.logprobs));
    pending_->finish = chunk.finish;
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
