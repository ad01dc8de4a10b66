#include "worker/heartbeat.h"

#include <utility>

#include <boost/asio/post.hpp>

#include "wire/messages.pb.h"

namespace dynamo::worker {

std::string heartbeat_of(uint64_t instance, const KvPublisher::Summary& held, const HostLoad& load) {
  wire::Heartbeat message;
  message.set_instance(instance);
  message.set_last_event(held.last_event);
  message.set_digest(held.digest);
  message.set_blocks(held.blocks);
  message.set_running(load.engine.running);
  message.set_waiting(load.engine.waiting);
  message.set_is_full(load.engine.is_full);
  message.set_used_blocks(load.engine.used_blocks);
  message.set_cached_blocks(load.engine.cached_blocks);
  message.set_total_blocks(load.engine.total_blocks);
  message.set_queued_tokens(load.engine.queued_tokens);
  message.set_prefill_tokens_per_second(load.engine.prefill_tokens_per_second);
  message.set_transfer_tokens_per_second(load.transfer_tokens_per_second);
  return message.SerializeAsString();
}

Heartbeat::Heartbeat(boost::asio::io_context* io, Duration interval, std::function<void()> beat)
    : timer_(*io), interval_(interval), beat_(std::move(beat)) {}

void Heartbeat::start() {
  boost::asio::post(timer_.get_executor(), [self = shared_from_this()] { self->tick(); });
}

void Heartbeat::stop() {
  MutexLock lock(mutex_);
  beat_ = nullptr;
}

void Heartbeat::tick() {
  {
    MutexLock lock(mutex_);
    if (!beat_) return;
    beat_();
  }
  timer_.expires_after(interval_);
  timer_.async_wait([self = shared_from_this()](const boost::system::error_code&) { self->tick(); });
}

}  // namespace dynamo::worker
