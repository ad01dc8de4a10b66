#include "http/server.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>

#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <exception>
#include <list>
#include <optional>

#include "base/host_port.h"
#include "base/listener.h"
#include "base/log.h"
#include "base/time_limit.h"
#include "http/metrics.h"
#include "http/request_parser.h"
#include "http/response_stream.h"
#include "http/routes.h"

namespace dynamo::http {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;

constexpr size_t kReadBytes = 16U << 10;
constexpr Duration kLinger = std::chrono::milliseconds(200);

// The peer has closed or reset its side. What it sent before may still wait to be read.
bool is_gone(int descriptor) {
  pollfd state{descriptor, POLLRDHUP, 0};
  return poll(&state, 1, 0) > 0 && (state.revents & (POLLRDHUP | POLLHUP | POLLERR)) != 0;
}

// Ends when the client is gone.
Task<void> watch_for_end(tcp::socket* socket) {
  error_code error;
  co_await socket->async_wait(tcp::socket::wait_read, asio::redirect_error(asio::use_awaitable, error));
  asio::steady_timer pause(socket->get_executor());
  // Readable: either the end, or bytes of the next request, behind which the end is looked for now and then.
  while (!is_gone(socket->native_handle())) {
    pause.expires_after(std::chrono::milliseconds(50));
    co_await pause.async_wait(asio::redirect_error(asio::use_awaitable, error));
  }
}

Response plain_error(int status, const std::string& message) {
  return {.status = status, .content_type = "text/plain", .body = message + "\n"};
}

}  // namespace

struct Server::State : std::enable_shared_from_this<Server::State> {
  explicit State(ServerOptions given) : options(std::move(given)) {
    if (!options.error_body) options.error_body = plain_error;
  }

  // One client.
  struct Connection final : Listener::Connection {
    Connection(tcp::socket accepted, std::shared_ptr<State> of)
        : state(std::move(of)),
          socket(std::move(accepted)),
          parser({state->options.max_header_bytes, state->options.max_body_bytes}) {
      error_code ignored;
      socket.non_blocking(true, ignored);
      const auto peer = socket.remote_endpoint(ignored);
      client = host_port_text(peer.address().to_string(), peer.port());
    }

    Task<void> serve() override { return state->serve(this); }
    void close(bool is_hard) override {
      if (std::exchange(is_closing, true) && !is_hard) return;  // what it still says is not to be cut short
      if (is_hard) {
        error_code ignored;
        socket.shutdown(tcp::socket::shutdown_both, ignored);  // the watcher of the handler sees it and cancels
      }
      if (is_hard || !is_handling) cancel();
    }
    // Ends the read or write under way.
    void cancel() {
      error_code ignored;
      socket.cancel(ignored);
    }

    const std::shared_ptr<State> state;
    tcp::socket socket;
    RequestParser parser;
    std::string client;
    bool is_handling = false;
    bool is_closing = false;  // no further request is taken
  };

  ServerOptions options;
  Routes routes;
  std::shared_ptr<Listener> listener;

  Task<void> serve(Connection* connection);
  Task<void> answer_all(Connection* connection);
  Task<bool> read_request(Connection* connection);
  Task<void> refuse(Connection* connection, int status, std::string message);
  Task<void> handle(const Handler* handler, const Request* request, SocketResponse* response);
};

Task<void> Server::State::serve(Connection* connection) {
  struct Counted {  // for as long as the connection lives
    Metrics* metrics;
    tcp::socket* socket;
    ~Counted() {
      error_code ignored;
      socket->close(ignored);
      if (metrics) metrics->gauge(kConnections).Decrement();
    }
  };
  if (options.metrics) {
    options.metrics->counter(kAccepted).Increment();
    options.metrics->gauge(kConnections).Increment();
  }
  const Counted counted{options.metrics, &connection->socket};
  co_await answer_all(connection);
}

Task<void> Server::State::answer_all(Connection* connection) {
  while (!connection->is_closing) {
    if (!co_await read_request(connection)) break;
    const int version = connection->parser.version();
    const bool keeps_alive = connection->parser.keeps_alive();
    Request request = connection->parser.take();
    request.client = connection->client;
    connection->is_handling = true;
    const Routes::Match match = routes.find(request.method, request.path);
    request.path_parameters = match.path_parameters;
    SocketResponse response(&connection->socket, &options, version, request.method == "HEAD",
                            keeps_alive && !connection->is_closing);
    if (match.handler) {
      using asio::experimental::awaitable_operators::operator||;
      co_await (handle(match.handler, &request, &response) || watch_for_end(&connection->socket));
    } else if (request.path.empty()) {
      Response error = options.error_body(400, "the request's target is not a path");
      static_cast<void>(co_await response.send(std::move(error)));
    } else if (match.allow.empty() && request.path != "*") {
      Response error = options.error_body(404, "there is no " + request.path + " here");
      static_cast<void>(co_await response.send(std::move(error)));
    } else if (request.method == "OPTIONS") {
      Response allowed;
      allowed.status = 204;
      allowed.content_type.clear();
      allowed.headers.emplace_back("allow", match.allow.empty() ? "GET, HEAD, POST, OPTIONS" : match.allow);
      static_cast<void>(co_await response.send(std::move(allowed)));
    } else {
      Response error =
          options.error_body(405, request.method + " is not done on " + request.path + "; it takes " + match.allow);
      error.headers.emplace_back("allow", match.allow);
      static_cast<void>(co_await response.send(std::move(error)));
    }
    connection->is_handling = false;
    if (!response.keeps_alive()) break;
  }
  // What the client still sends is read for a moment, so that closing does not reset the connection under our last words.
  error_code error;
  connection->socket.shutdown(tcp::socket::shutdown_send, error);
  if (error) co_return;
  const TimeLimit limit(connection->socket.get_executor(), Clock::steady().now() + kLinger,
                        [connection] { connection->cancel(); });
  std::string discarded(kReadBytes, '\0');
  for (int reads = 0; reads < 64 && !error; ++reads) {
    co_await connection->socket.async_read_some(asio::buffer(discarded),
                                                asio::redirect_error(asio::use_awaitable, error));
  }
}

// Reads until a whole request is there. False: the connection is to be closed; what had to be said is said.
Task<bool> Server::State::read_request(Connection* connection) {
  using State = RequestParser::State;
  RequestParser& parser = connection->parser;
  std::string bytes(kReadBytes, '\0');
  bool is_timed = false;  // the limit for a whole request runs
  std::optional<TimeLimit> limit;
  const auto set_limit = [&](std::chrono::milliseconds after) {
    limit.emplace(connection->socket.get_executor(), Clock::steady().now() + after,
                  [connection] { connection->cancel(); });
  };
  set_limit(options.idle_timeout);
  State state = parser.state();
  while (state != State::kComplete && state != State::kFailed) {
    if (state != State::kIdle && !is_timed) {
      is_timed = true;
      set_limit(options.read_timeout);
    }
    if (state == State::kBody && parser.take_expects_continue()) {
      error_code ignored;
      connection->socket.write_some(asio::buffer(std::string_view("HTTP/1.1 100 Continue\r\n\r\n")), ignored);
    }
    if (connection->is_closing && state == State::kIdle) break;
    error_code error;
    const size_t count = co_await connection->socket.async_read_some(asio::buffer(bytes),
                                                                     asio::redirect_error(asio::use_awaitable, error));
    if (error) break;
    state = parser.push(std::string_view(bytes).substr(0, count));
  }
  const bool has_timed_out = limit->has_passed();
  limit.reset();
  if (state == State::kComplete) co_return true;
  if (state == State::kFailed) {
    std::string message = parser.message();
    co_await refuse(connection, parser.status(), std::move(message));
  } else if (has_timed_out && state != State::kIdle) {
    std::string message = "the request did not arrive in time";
    co_await refuse(connection, 408, std::move(message));
  }
  co_return false;
}

Task<void> Server::State::refuse(Connection* connection, int status, std::string message) {
  SocketResponse response(&connection->socket, &options, connection->parser.version(), /*is_head=*/false,
                          /*keeps_alive=*/false);
  Response error = options.error_body(status, message);
  static_cast<void>(co_await response.send(std::move(error)));
}

Task<void> Server::State::handle(const Handler* handler, const Request* request, SocketResponse* response) {
  std::string failure;
  try {
    co_await (*handler)(request, response);
  } catch (const boost::system::system_error& cancelled) {
    if (cancelled.code() == asio::error::operation_aborted) throw;  // the client is gone: unwind
    failure = cancelled.what();
  } catch (const std::exception& thrown) {
    failure = thrown.what();
  }
  if (failure.empty() && (response->is_complete() || response->has_failed())) co_return;
  LOG(error, "a handler failed", {"method", request->method}, {"path", request->path},
      {"why", failure.empty() ? "it left the response unfinished" : failure});
  if (!response->has_begun()) {
    Response error = options.error_body(500, "the server failed while answering");
    static_cast<void>(co_await response->send(std::move(error)));
  }
}

Server::Server(std::shared_ptr<State> state) : state_(std::move(state)) {}
Server::~Server() = default;

Result<std::unique_ptr<Server>> Server::listen(ServerOptions options, IoThreads* io) {
  Listener::Options where{
      .name = "http", .host = options.host, .port = options.port, .max_connections = options.max_connections};
  auto state = std::make_shared<State>(std::move(options));
  TRY(state->listener, Listener::open(std::move(where), io));
  return std::unique_ptr<Server>(new Server(std::move(state)));
}

void Server::route(std::string method, std::string path, Handler handler) {
  state_->routes.add(std::move(method), std::move(path), std::move(handler));
}

void Server::start() {
  state_->listener->start(
      [state = state_](tcp::socket socket) { return std::make_shared<State::Connection>(std::move(socket), state); });
}

std::vector<std::string> Server::routes() const {
  return state_->routes.all();
}

uint16_t Server::port() const {
  return state_->listener->port();
}

uint32_t Server::connections() const {
  return state_->listener->connections();
}

void Server::stop(Time until) {
  state_->listener->stop(until);
}

}  // namespace dynamo::http
