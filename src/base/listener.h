// A TCP server's socket and the connections taken from it: what our servers (http, rpc, the hub) have in common. It
// takes connections whatever fails meanwhile (base/accept.h), counts them, and ends them all by one protocol.
// Threads: start(), stop() and the counts from any; a connection's methods on the I/O thread of its socket.
#pragma once

#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/ip/tcp.hpp>

#include "base/clock.h"
#include "base/io_threads.h"
#include "base/mutex.h"
#include "base/status.h"
#include "base/task.h"

namespace dynamo {

class Listener : public std::enable_shared_from_this<Listener> {
 public:
  class Connection {
   public:
    virtual ~Connection() = default;
    // The connection is over, and may be dropped, when this returns or throws.
    virtual Task<void> serve() = 0;
    // Lets serve() return: at once, or as soon as nothing is under way. Called again and again.
    virtual void close(bool is_hard) = 0;
  };
  struct Options {
    std::string name;  // of who listens, for the log: "the hub"
    std::string host;
    uint16_t port = 0;
    uint32_t max_connections = UINT32_MAX;           // more are closed at once
    boost::asio::io_context* only_thread = nullptr;  // where all connections are; null: on all threads in turn
  };

  // `io` outlives it. Errors: as listen_on (base/listen.h).
  static Result<std::shared_ptr<Listener>> open(Options options, IoThreads* io);
  ~Listener();  // Requires: stop() has returned.

  // Takes connections from now on: `make` gets their sockets, and is dropped when no more are taken.
  void start(std::function<std::shared_ptr<Connection>(boost::asio::ip::tcp::socket)> make);
  uint16_t port() const { return port_; }
  uint32_t connections() const;

  // Takes no new connections, closes those without work, lets the others finish until `until` and then closes them.
  // Blocks until none is left; not from an I/O thread. May be called again.
  void stop(Time until);

 private:
  Listener(Options options, boost::asio::io_context* io, IoThreads* all);
  bool is_quiet() const REQUIRES(mutex_) { return connections_.empty() && !is_accepting_ && !is_open_; }
  bool add(const std::shared_ptr<Connection>& connection, const boost::asio::any_io_executor& executor);
  void run(std::shared_ptr<Connection> connection, const boost::asio::any_io_executor& executor);
  void remove(const std::shared_ptr<Connection>& connection);

  const Options options_;
  IoThreads* const io_;
  boost::asio::ip::tcp::acceptor acceptor_;  // on its thread, once it accepts
  uint16_t port_ = 0;
  mutable Mutex mutex_;
  std::condition_variable_any changed_;
  std::map<std::shared_ptr<Connection>, boost::asio::any_io_executor> connections_ GUARDED_BY(mutex_);
  bool is_open_ GUARDED_BY(mutex_) = false;  // the acceptor
  bool is_accepting_ GUARDED_BY(mutex_) = false;
  bool is_stopping_ GUARDED_BY(mutex_) = false;
};

}  // namespace dynamo
