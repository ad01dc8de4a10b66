// The answering end of the request plane: takes connections, and gives each request to a handler.
//
// One coroutine a request, on its connection's I/O thread. A cancelled request, or one whose peer is gone, is a destroyed
// coroutine: its next co_await throws and its locals go, a Generation among them. Spec: docs/reference/wire.md.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/io_threads.h"
#include "base/status.h"
#include "base/task.h"
#include "rpc/identity.h"

namespace dynamo::rpc {

struct ServerOptions {
  std::string host = "127.0.0.1";  // address to listen on
  uint16_t port = 0;               // 0: any free one
  Identity identity;
  std::chrono::milliseconds silence_limit{10000};  // a peer that sends nothing, not even a ping, is gone
  uint32_t max_streams = 65536;                    // per connection
};

// Where the answer to one request goes.
class ReplyStream {
 public:
  virtual ~ReplyStream() = default;
  // Sends a piece; waits while the asker has not taken what it got before. Requires: at most kLargestPiece bytes, not empty.
  virtual Task<Status> send(std::string piece) = 0;
  // Sends the last piece together with the end, without waiting. Nothing is sent after it.
  virtual void send_last(std::string piece) = 0;
};

// Answers one request. The stream ends when it returns: as complete, or with its failure. Must not block.
using Handler = std::function<Task<Status>(std::string request, ReplyStream* reply)>;

class Server {
 public:
  // Listens; connections are taken from start() on. `io` outlives the server. Errors: as Listener::open (base/listener.h).
  static Result<std::unique_ptr<Server>> listen(ServerOptions options, IoThreads* io);
  virtual ~Server() = default;  // Requires: stop() has returned.

  virtual void start(Handler handler) = 0;
  virtual uint16_t port() const = 0;
  virtual uint32_t connections() const = 0;
  virtual uint32_t streams() const = 0;

  // Takes no new connections and requests (they get kUnavailable), lets running ones finish until `until`, then cancels them and
  // closes all. Blocks; not from an I/O thread.
  virtual void stop(Time until) = 0;
};

}  // namespace dynamo::rpc
