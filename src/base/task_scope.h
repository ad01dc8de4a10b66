// Coroutines that belong to one owner, on I/O threads: all are over when stop() has returned.
//
// So they may hold plain pointers to what the owner owns. What calls back from elsewhere and may be late (a connection,
// a router) holds the scope itself, by shared_ptr, and spawns: after stop() nothing runs any more, and the late call
// does nothing.
// Threads: every method from any thread, also under locks that tasks take; stop() from none of the I/O threads and
// under no such lock.
#pragma once

#include <condition_variable>
#include <functional>
#include <list>
#include <memory>

#include "base/io_threads.h"
#include "base/mutex.h"
#include "base/task.h"

namespace dynamo {

class TaskScope {
 public:
  // `io` outlives every task; from stop() on it is not used any more.
  explicit TaskScope(IoThreads* io) : io_(io) {}
  ~TaskScope();  // Requires: stop() has returned.
  TaskScope(const TaskScope&) = delete;
  TaskScope& operator=(const TaskScope&) = delete;

  // Runs the coroutine that `make` returns on the next I/O thread. Returns at once, and does nothing once stop() has
  // been called.
  void spawn(std::function<Task<void>()> make);

  // Cancels all: in each the next co_await throws, and its locals are destroyed. Blocks until all are over. May be
  // called again.
  void stop();

 private:
  struct Running;
  using Place = std::list<std::shared_ptr<Running>>::iterator;
  void begin(Place place, const std::function<Task<void>()>& make);
  void end(Place place, bool has_failed);

  IoThreads* io_;
  Mutex mutex_;
  std::condition_variable_any ended_;
  std::list<std::shared_ptr<Running>> running_ GUARDED_BY(mutex_);
  bool is_stopping_ GUARDED_BY(mutex_) = false;
};

}  // namespace dynamo
