#include "base/task_scope.h"

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/post.hpp>

#include "base/check.h"

namespace dynamo {

namespace asio = boost::asio;

struct TaskScope::Running {
  asio::io_context* thread;
  asio::cancellation_signal cancel;  // used on its thread only
};

TaskScope::~TaskScope() {
  MutexLock lock(mutex_);
  CHECK(is_stopping_ && running_.empty());
}

void TaskScope::spawn(std::function<Task<void>()> make) {
  MutexLock lock(mutex_);
  if (is_stopping_) return;
  auto task = std::make_shared<Running>();
  task->thread = &io_->next();
  asio::io_context& thread = *task->thread;
  const Place place = running_.insert(running_.end(), std::move(task));
  asio::post(thread, [this, place, make = std::move(make)] { begin(place, make); });
}

void TaskScope::begin(Place place, const std::function<Task<void>()>& make) {
  const std::shared_ptr<Running> task = *place;
  auto on_end = [this, place, task](const std::exception_ptr& failure) { end(place, failure != nullptr); };
  asio::co_spawn(*task->thread, make(), asio::bind_cancellation_slot(task->cancel.slot(), std::move(on_end)));
}

void TaskScope::end(Place place, bool has_failed) {
  MutexLock lock(mutex_);
  CHECK(!has_failed || is_stopping_);  // nothing of ours throws but a wait that was cancelled
  running_.erase(place);
  ended_.notify_all();
}

void TaskScope::stop() {
  MutexLock lock(mutex_);
  is_stopping_ = true;
  for (const auto& task : running_)
    asio::post(*task->thread, [task] { task->cancel.emit(asio::cancellation_type::terminal); });
  while (!running_.empty()) ended_.wait(mutex_);
}

}  // namespace dynamo
