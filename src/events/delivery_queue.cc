#include "events/delivery_queue.h"

#include <utility>

#include "base/check.h"

namespace dynamo::events {

DeliveryQueue::DeliveryQueue(OnMessage on_message, std::atomic<uint64_t>& dropped)
    : on_message_(std::move(on_message)), dropped_(dropped) {
  thread_ = std::thread([this] { run(); });
}

DeliveryQueue::~DeliveryQueue() {
  end();
}

void DeliveryQueue::push(std::string_view subject, std::string_view data) {
  MutexLock lock(mu_);
  if (has_ended_) return;
  if (waiting_.bytes() + being_delivered_bytes_ + MessageQueue::cost(subject, data) > kMaxUndeliveredBytes) {
    ++dropped_;
    return;
  }
  waiting_.push(subject, data);
  if (std::exchange(is_waiting_, false)) has_work_.notify_one();
}

void DeliveryQueue::end() {
  if (!thread_.joinable()) return;
  CHECK(std::this_thread::get_id() != thread_.get_id());
  {
    MutexLock lock(mu_);
    has_ended_ = true;
    has_work_.notify_one();
  }
  thread_.join();
}

bool DeliveryQueue::is_idle() const {
  MutexLock lock(mu_);
  return waiting_.is_empty() && being_delivered_bytes_ == 0;
}

void DeliveryQueue::run() {
  for (;;) {
    MessageBatch batch;
    {
      MutexLock lock(mu_);
      being_delivered_bytes_ = 0;
      while (!has_ended_ && waiting_.is_empty()) {
        is_waiting_ = true;
        has_work_.wait(mu_);
      }
      if (has_ended_) return;
      batch = waiting_.take();
      being_delivered_bytes_ = batch.bytes();
    }
    for (; !batch.is_empty() && !has_ended_; batch.pop()) {
      const MessageView message = batch.front();
      on_message_(message.subject, message.data);
    }
  }
}

}  // namespace dynamo::events
