// HTTP/1.1 server on coroutines.
//
// Source: RFC 9110, RFC 9112; Boost.Beast parses. One coroutine a connection; a handler runs on its connection's I/O
// thread and must not block. When a client goes away while its handler runs, the handler's coroutine is cancelled: its
// next co_await throws, its locals are destroyed, and with them the Generation that it held.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/io_threads.h"
#include "base/metrics.h"
#include "base/status.h"
#include "http/message.h"

namespace dynamo::http {

struct ServerOptions {
  std::string host = "0.0.0.0";                    // address to listen on
  uint16_t port = 8000;                            // 0: any free port
  uint64_t max_body_bytes = 45ULL << 20;           // larger: 413.  --http-body-limit
  uint32_t max_header_bytes = 32U << 10;           // larger: 431
  std::chrono::milliseconds read_timeout{30000};   // to send a whole request once begun: 408
  std::chrono::milliseconds idle_timeout{75000};   // between requests of a connection
  std::chrono::milliseconds write_timeout{30000};  // for the client to take what was written
  uint32_t max_connections = 10000;                // more are closed at once
  Metrics* metrics = nullptr;                      // counts connections and responses; outlives the server
  // Makes the body of an error that the server itself finds (400, 404, 405, 408, 413, 415, 417, 431, 500, 501, 505), so that all errors
  // look alike.
  std::function<Response(int status, const std::string& message)> error_body;
};

class Server {
 public:
  // Listens and starts to accept. `io` outlives the server.
  // Errors: as Listener::open (base/listener.h).
  static Result<std::unique_ptr<Server>> listen(ServerOptions options, IoThreads* io);
  ~Server();  // Requires: stop() has returned.

  // Routes are fixed before the first request: call all of these, then start().
  // `path` may hold "{name}" as its last segment, which then takes the rest of the path, slashes included.
  // A path with another method answers 405 with Allow; HEAD is answered by GET without its body; OPTIONS with Allow.
  void route(std::string method, std::string path, Handler handler);
  void start();

  std::vector<std::string> routes() const;  // "GET /v1/models/{id}"
  uint16_t port() const;
  uint32_t connections() const;

  // Stops accepting, closes idle connections, lets running handlers finish until `until`, then cancels and closes the
  // rest. Blocks until no connection is left. Not from an I/O thread.
  void stop(Time until);

 private:
  struct State;
  explicit Server(std::shared_ptr<State> state);
  std::shared_ptr<State> state_;
};

}  // namespace dynamo::http
