#include "hub/delivery.h"

namespace dynamo::hub {

Delivery::~Delivery() {
  {
    MutexLock lock(mutex_);
    is_stopping_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void Delivery::post(std::function<void()> call) {
  MutexLock lock(mutex_);
  waiting_.push_back(std::move(call));
  if (waiting_.size() == 1) changed_.notify_one();
}

void Delivery::run() {
  for (;;) {
    std::deque<std::function<void()>> calls;
    {
      MutexLock lock(mutex_);
      changed_.wait(mutex_, [this]() REQUIRES(mutex_) { return is_stopping_ || !waiting_.empty(); });
      if (is_stopping_) return;
      calls.swap(waiting_);
    }
    for (const auto& call : calls) {
      call();
      MutexLock lock(mutex_);
      if (is_stopping_) return;
    }
  }
}

}  // namespace dynamo::hub
