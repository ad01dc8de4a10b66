// One TCP connection of the request plane, either end: frames in, frames out.
//
// What is sent while a write is under way, or in one turn of the I/O thread, goes out as one write: a worker's tokens of a whole
// engine step do. Threads: everything on the socket's executor, a single I/O thread.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include <boost/asio/ip/tcp.hpp>

#include "base/clock.h"
#include "base/status.h"
#include "base/task.h"
#include "rpc/notice.h"
#include "wire/frame.h"

namespace dynamo::rpc {

class Link : public std::enable_shared_from_this<Link> {
 public:
  explicit Link(boost::asio::ip::tcp::socket socket);

  void send(wire::FrameType type, uint32_t stream, std::string_view payload);
  // Bytes that the peer has not taken yet.
  size_t unsent() const { return pending_.size() + writing_.size(); }
  // Waits until little is unsent or the link is closed.
  Task<void> drain();

  // Reads frames until the link ends or `on_frame` returns a failure. Returns: why it ended, never ok.
  Task<Status> read(std::function<Status(const wire::Frame&)> on_frame);

  // Ends read() and drops what is unsent.
  void close();
  // Sends what is pending for at most this long, then closes.
  Task<void> close_after_sending(Duration limit);

  bool is_open() const { return !is_closed_; }
  Time last_received() const { return last_received_; }
  Time last_sent() const { return last_sent_; }
  std::string peer() const { return peer_; }

 private:
  void write_pending();

  boost::asio::ip::tcp::socket socket_;
  std::string peer_;
  std::string pending_;
  std::string writing_;
  bool is_flush_posted_ = false;
  bool is_closed_ = false;
  Notice drained_;
  Time last_received_;
  Time last_sent_;
};

}  // namespace dynamo::rpc
