// Requests that wait while every worker is busy: higher priority first, then who came first.
// Threads: the line itself one at a time, under its owner's lock; each ticket's timer on its own executor.
#pragma once

#include <cstdint>
#include <memory>
#include <set>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/post.hpp>

#include "base/timer.h"

namespace dynamo::router {

class WaitingLine {
 public:
  struct Ticket {
    Ticket(const Clock* clock, const boost::asio::any_io_executor& executor, int32_t its_priority)
        : timer(clock, executor), priority(its_priority) {}
    Timer timer;
    int32_t priority;
    uint64_t number = 0;  // kept when it has to wait again
    bool is_called = false;
  };

  size_t size() const { return line_.size(); }
  bool is_empty() const { return line_.empty(); }
  // Whether a request of this priority has to let others pass first.
  bool is_before(int32_t priority) const { return !line_.empty() && (*line_.begin())->priority >= priority; }

  void join(const std::shared_ptr<Ticket>& ticket) {
    if (ticket->number == 0) ticket->number = ++last_;
    ticket->is_called = false;
    line_.insert(ticket);
  }
  void leave(const std::shared_ptr<Ticket>& ticket) { line_.erase(ticket); }
  // Lets the first one try again.
  void call_next() {
    if (line_.empty()) return;
    const std::shared_ptr<Ticket> first = *line_.begin();
    line_.erase(line_.begin());
    first->is_called = true;
    boost::asio::post(first->timer.executor(), [first] { first->timer.wake(); });
  }

 private:
  struct Order {
    bool operator()(const std::shared_ptr<Ticket>& a, const std::shared_ptr<Ticket>& b) const {
      return a->priority != b->priority ? a->priority > b->priority : a->number < b->number;
    }
  };
  std::set<std::shared_ptr<Ticket>, Order> line_;
  uint64_t last_ = 0;
};

}  // namespace dynamo::router
