// Tells frontends at an interval that a worker lives, how busy it is and what its cache holds. Message:
// wire::Heartbeat.
// Threads: start() and stop() from one; it beats on an I/O thread.  Private to the module.
#pragma once

#include <functional>
#include <memory>

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>

#include "base/clock.h"
#include "base/mutex.h"
#include "worker/engine_host.h"
#include "worker/kv_publisher.h"

namespace dynamo::worker {

// A heartbeat's bytes.
std::string heartbeat_of(uint64_t instance, const KvPublisher::Summary& held, const HostLoad& load);

class Heartbeat : public std::enable_shared_from_this<Heartbeat> {
 public:
  Heartbeat(boost::asio::io_context* io, Duration interval, std::function<void()> beat);
  void start();
  // No beat comes after this.
  void stop();

 private:
  void tick();

  boost::asio::steady_timer timer_;
  Duration interval_;
  Mutex mutex_;
  std::function<void()> beat_ GUARDED_BY(mutex_);
};

}  // namespace dynamo::worker
