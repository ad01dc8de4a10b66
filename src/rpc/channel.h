// The asking end: one connection to one peer, shared by all requests that an I/O thread has there.
//
// It connects by itself, and again after every failure, until it is stopped. A peer that says nothing for `silence_limit` although
// it was pinged is taken for dead: every stream ends with kUnavailable. Spec: docs/reference/wire.md.
// Threads: all on its executor (a single I/O thread), but is_connected(), which is for any.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include <boost/asio/any_io_executor.hpp>

#include "base/clock.h"
#include "base/status.h"
#include "base/task.h"
#include "rpc/identity.h"

namespace dynamo::rpc {

struct ChannelOptions {
  std::string address;             // "host:port"
  uint64_t expected_instance = 0;  // who must answer there; 0: anyone
  Identity identity;
  std::chrono::milliseconds connect_timeout{5000};  // for connecting and hello
  std::chrono::milliseconds ping_interval{500};
  std::chrono::milliseconds silence_limit{5000};  // longer than a machine with too much to do lets a thread wait
  std::chrono::milliseconds first_pause{50};  // before connecting again; doubled each time, until a connection lasts
  std::chrono::milliseconds longest_pause{1000};
  // Told of every change of is_connected(), with the reason when it was lost or not got. On the executor.
  std::function<void(bool is_connected, const Status& why)> on_change;
};

// One request's answer: pieces until its end. Dropped before that, it cancels the request. On the channel's executor.
class Stream {
 public:
  virtual ~Stream() = default;
  // Returns: the next piece, or none at the end. Errors: what the peer said; kUnavailable (the peer is gone), kDeadline.
  virtual Task<Result<std::optional<std::string>>> next(Time until) = 0;
  // As next(), but only what is here already.
  virtual std::optional<std::string> next_ready() = 0;
};

class Channel : public std::enable_shared_from_this<Channel> {
 public:
  static std::shared_ptr<Channel> create(boost::asio::any_io_executor executor, ChannelOptions options);
  virtual ~Channel() = default;

  // Starts to connect.
  virtual void start() = 0;
  // Takes no new requests, and stops when the last one has ended.
  virtual void retire() = 0;
  // Ends all streams with kUnavailable and connects no more.
  virtual void stop() = 0;
  virtual bool is_connected() const = 0;
  // Waits until it is connected. Errors: kUnavailable (with the last reason), kDeadline.
  virtual Task<Status> wait_connected(Time until) = 0;
  // Sends a request. Errors: kUnavailable (not connected).
  virtual Result<std::unique_ptr<Stream>> open(std::string request) = 0;
};

}  // namespace dynamo::rpc
