// A client's connection to the hub: one thread that connects, sends what waits, reads, and connects again, for ever.
//
// Threads: methods from any; the owner's methods are called on the link's thread, one at a time.
#pragma once

#include <atomic>
#include <condition_variable>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>

#include "base/clock.h"
#include "base/host_port.h"
#include "base/io_threads.h"
#include "base/mutex.h"
#include "base/status.h"
#include "base/task.h"
#include "hub/hub.pb.h"
#include "hub/outbox.h"
#include "wire/frame.h"

namespace dynamo::hub {

class HubLink {
 public:
  class Owner {
   public:
    virtual ~Owner() = default;
    // The hub has answered: calls begin() with what it must know first.
    virtual void on_connected(uint64_t incarnation) = 0;
    virtual void on_message(message::FromHub message) = 0;
    // The connection that on_connected() told of is gone.
    virtual void on_lost(const Status& why) = 0;
    virtual void on_tick(Time now) = 0;  // now and then while connected
  };

  // `owner` outlives the link.
  HubLink(HostPort address, Owner* owner);
  void start();
  ~HubLink();  // no method of the owner runs after that

  // From on_connected(): the connection can be used from now on, and these frames go first.
  void begin(std::vector<std::string> frames);
  // Returns: whether there is a connection; if not, the frame is forgotten.
  bool send(std::string frame);
  // Kept while there is none; see kMaxUnsentBytes.
  void send_event(std::string_view subject, std::string_view data);

  const HostPort& address() const { return address_; }
  bool is_connected() const { return is_connected_; }
  // Events dropped unsent.
  uint64_t dropped() const;
  // Blocks until the first answer of a hub. Errors: kUnavailable (address, what was tried last, remedy); kUnsupported (version), at once.
  Status wait_for_first(Time until);
  // "address: what stands in the way of an answer".
  std::string trouble() const;

 private:
  using Socket = boost::asio::ip::tcp::socket;
  Task<void> run();
  Task<Status> open(Socket* socket);
  Task<void> shake_hands(Socket* socket, Status* result);
  Task<Status> serve(Socket* socket);
  Task<void> read_all(Socket* socket, Status* why);
  Task<void> write_all(Socket* socket, Status* why);
  Task<void> tick_all(Status* why);
  Status take_frames();
  Status take_hello(const wire::Frame& frame);
  void note_trouble(const Status& why);
  void wake_writer() REQUIRES(mutex_);

  const HostPort address_;
  Owner* const owner_;
  mutable Mutex mutex_;
  std::condition_variable_any changed_;
  Outbox outbox_ GUARDED_BY(mutex_);
  bool is_wake_posted_ GUARDED_BY(mutex_) = false;
  bool was_connected_ GUARDED_BY(mutex_) = false;
  Status trouble_ GUARDED_BY(mutex_);
  std::atomic<bool> is_connected_ = false;  // written under mutex_
  // Of the link's thread:
  wire::FrameReader reader_;
  std::optional<uint64_t> incarnation_;  // of the hub that this connection reached
  Time last_heard_;
  IoThreads threads_{1};
  boost::asio::steady_timer wake_{threads_.at(0)};
};

}  // namespace dynamo::hub
