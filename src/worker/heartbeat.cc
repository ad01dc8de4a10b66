#include "worker/heartbeat.h"

#include <utility>

#include <boost/asio/post.hpp>

#include "wire/bus_messages.h"

namespace dynamo::worker {

std::string heartbeat_of(uint64_t instance, const KvPublisher::Summary& held, const HostLoad& load) {
  return wire::to_bytes(wire::Heartbeat{.instance = instance,
                                        .last_event = held.last_event,
                                        .digest = held.digest,
                                        .blocks = held.blocks,
                                        .running = load.engine.running,
                                        .waiting = load.engine.waiting,
                                        .is_full = load.engine.is_full,
                                        .used_blocks = load.engine.used_blocks,
                                        .cached_blocks = load.engine.cached_blocks,
                                        .total_blocks = load.engine.total_blocks,
                                        .queued_tokens = load.engine.queued_tokens,
                                        .prefill_tokens_per_second = load.engine.prefill_tokens_per_second,
                                        .transfer_tokens_per_second = load.transfer_tokens_per_second});
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
