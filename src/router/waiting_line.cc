#include "router/waiting_line.h"

#include <utility>

#include <fmt/format.h>
#include <boost/asio/post.hpp>
#include <boost/asio/this_coro.hpp>

namespace dynamo::router {

// Takes a request out of the line however its coroutine ends.
struct WaitingLine::Leaving {
  explicit Leaving(WaitingLine* from) : line(from) {}
  Leaving(const Leaving&) = delete;
  Leaving& operator=(const Leaving&) = delete;
  ~Leaving() {
    if (!waiter) return;
    MutexLock lock(*line->mutex_);
    line->line_.erase(waiter);
    line->show_length();
  }
  WaitingLine* const line;
  std::shared_ptr<Waiter> waiter;  // null: it has not waited
};

Task<Status> WaitingLine::admit(int32_t priority, Time until, std::function<bool()> attempt) {
  const auto executor = co_await boost::asio::this_coro::executor;
  Leaving leaving(this);
  std::shared_ptr<Waiter>& waiter = leaving.waiter;
  for (;;) {
    {
      MutexLock lock(*mutex_);
      if (waiter && !waiter->is_called && clock_->now() >= until)
        co_return exhausted("all workers are busy; the request waited in vain for one that is not");
      if (waiter) waiter->is_called = false;
      const bool may_try = waiter || !is_anyone_before(priority);
      if (may_try && attempt()) {
        if (waiter) call_next();  // there may be room for more
        co_return Status();
      }
      if (!waiter) {
        if (line_.size() >= most_)
          co_return exhausted(fmt::format("all workers are busy and {} requests wait already", line_.size()));
        waiter = std::make_shared<Waiter>(clock_, executor, priority, ++last_);
      }
      line_.insert(waiter);
      show_length();
    }
    co_await waiter->timer.wait(until);
  }
}

void WaitingLine::call_next() {
  if (line_.empty()) return;
  const std::shared_ptr<Waiter> first = *line_.begin();
  line_.erase(line_.begin());
  show_length();
  first->is_called = true;
  boost::asio::post(first->timer.executor(), [first] { first->timer.wake(); });
}

}  // namespace dynamo::router
