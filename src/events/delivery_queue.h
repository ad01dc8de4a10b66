// Between a bus and one subscriber's callback: a bounded queue and the thread that empties it.
//
// Whoever receives from the network is never held up by a slow callback: beyond kMaxUndeliveredBytes the newest messages are
// dropped and counted. Every bus uses it, so that all have the same rules.
// Threads: push() from any thread, never blocks; the callback runs on the queue's own thread, one call at a time.
#pragma once

#include <atomic>
#include <condition_variable>
#include <string_view>
#include <thread>

#include "base/mutex.h"
#include "events/event_bus.h"
#include "events/message_queue.h"

namespace dynamo::events {

class DeliveryQueue {
 public:
  // `dropped` counts what did not fit; it is not touched after end().
  DeliveryQueue(OnMessage on_message, std::atomic<uint64_t>& dropped);
  ~DeliveryQueue();  // ends it
  DeliveryQueue(const DeliveryQueue&) = delete;
  DeliveryQueue& operator=(const DeliveryQueue&) = delete;

  void push(std::string_view subject, std::string_view data);

  // Waits for a callback that is running, then no other runs; what is undelivered is forgotten. A second call does nothing.
  // Threads: not from the callback; one caller.
  void end();

  // Whether everything pushed so far has been delivered.
  bool is_idle() const;

 private:
  void run();

  const OnMessage on_message_;
  std::atomic<uint64_t>& dropped_;
  mutable Mutex mu_;
  std::condition_variable_any has_work_;
  MessageQueue waiting_ GUARDED_BY(mu_);
  size_t being_delivered_bytes_ GUARDED_BY(mu_) = 0;
  bool is_waiting_ GUARDED_BY(mu_) = false;
  std::atomic<bool> has_ended_ = false;  // written under mu_
  std::thread thread_;
};

}  // namespace dynamo::events
