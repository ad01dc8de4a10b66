#include "http/server.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <condition_variable>
#include <exception>
#include <list>
#include <optional>
#include <set>

#include "base/accept.h"
#include "base/host_port.h"
#include "base/listen.h"
#include "base/log.h"
#include "base/mutex.h"
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

// One client. Belongs to its socket's I/O thread, but for close_soon() and cancel().
struct Connection : std::enable_shared_from_this<Connection> {
  Connection(tcp::socket accepted, const ServerOptions& options)
      : socket(std::move(accepted)), parser({options.max_header_bytes, options.max_body_bytes}) {}

  tcp::socket socket;
  RequestParser parser;
  std::string client;
  bool is_handling = false;
  bool is_closing = false;  // no further request is taken

  // Ends the read or write under way.
  void cancel() {
    error_code ignored;
    socket.cancel(ignored);
  }
  // Ends the connection: at once if it is idle or `is_hard`, else after the response being made.
  void close(bool is_hard) {
    asio::post(socket.get_executor(), [self = shared_from_this(), is_hard] {
      self->is_closing = true;
      if (is_hard) {
        error_code ignored;
        self->socket.shutdown(tcp::socket::shutdown_both, ignored);  // the watcher of the handler sees it and cancels
      }
      if (is_hard || !self->is_handling) self->cancel();
    });
  }
};

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
  State(ServerOptions given, IoThreads* threads) : options(std::move(given)), io(threads), acceptor(threads->at(0)) {
    if (!options.error_body) options.error_body = plain_error;
  }

  ServerOptions options;
  IoThreads* io;
  Routes routes;
  tcp::acceptor acceptor;  // on I/O thread 0
  uint16_t port = 0;
  Mutex mutex;
  std::condition_variable_any changed;
  std::set<std::shared_ptr<Connection>> connections GUARDED_BY(mutex);
  bool is_stopping GUARDED_BY(mutex) = false;
  bool is_accepting GUARDED_BY(mutex) = false;
  bool is_open GUARDED_BY(mutex) = true;  // the acceptor, which only I/O thread 0 touches once it accepts

  Status open();
  void start();
  void add(tcp::socket socket);
  void remove(const std::shared_ptr<Connection>& connection);
  Task<void> serve(Connection* connection);
  Task<bool> read_request(Connection* connection);
  Task<void> refuse(Connection* connection, int status, std::string message);
  Task<void> handle(const Handler* handler, const Request* request, SocketResponse* response);
};

Status Server::State::open() {
  TRY_STATUS(listen_on(&acceptor, options.host, options.port));
  port = acceptor.local_endpoint().port();
  return {};
}

void Server::State::start() {
  {
    MutexLock lock(mutex);
    is_accepting = true;
  }
  Accepting how{.name = "http",
                .thread_of_next = [this]() -> asio::io_context& { return io->next(); },
                .on_next = [this](tcp::socket socket) { add(std::move(socket)); }};
  // However it ends, stop() must not wait for it.
  asio::co_spawn(acceptor.get_executor(), accept_until_closed(&acceptor, std::move(how)),
                 [self = shared_from_this()](const std::exception_ptr& failure) {
                   if (failure) LOG(error, "no more connections are accepted: an exception", {"by", "http"});
                   MutexLock lock(self->mutex);
                   self->is_accepting = false;
                   self->changed.notify_all();
                 });
}

void Server::State::add(tcp::socket socket) {
  error_code ignored;
  socket.set_option(tcp::no_delay(true), ignored);
  socket.non_blocking(true, ignored);
  auto connection = std::make_shared<Connection>(std::move(socket), options);
  const auto peer = connection->socket.remote_endpoint(ignored);
  connection->client = host_port_text(peer.address().to_string(), peer.port());
  {
    MutexLock lock(mutex);
    if (is_stopping || connections.size() >= options.max_connections) return;  // closed by its destructor
    connections.insert(connection);
  }
  if (options.metrics) {
    options.metrics->counter(kAccepted).Increment();
    options.metrics->gauge(kConnections).Increment();
  }
  const auto executor = connection->socket.get_executor();
  const auto on_end = [self = shared_from_this(), connection](const std::exception_ptr& failure) {
    if (failure) LOG(error, "a connection ended with an exception", {"client", connection->client});
    self->remove(connection);
  };
  try {
    asio::co_spawn(executor, serve(connection.get()), on_end);
  } catch (...) {  // or stop() would wait for it
    remove(connection);
    throw;
  }
}

void Server::State::remove(const std::shared_ptr<Connection>& connection) {
  error_code ignored;
  connection->socket.close(ignored);
  if (options.metrics) options.metrics->gauge(kConnections).Decrement();
  MutexLock lock(mutex);
  connections.erase(connection);
  changed.notify_all();
}

Task<void> Server::State::serve(Connection* connection) {
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
Server::~Server() {
  MutexLock lock(state_->mutex);
  CHECK(!state_->is_open);
}

Result<std::unique_ptr<Server>> Server::listen(ServerOptions options, IoThreads* io) {
  auto state = std::make_shared<State>(std::move(options), io);
  TRY_STATUS(state->open());
  return std::unique_ptr<Server>(new Server(std::move(state)));
}

void Server::route(std::string method, std::string path, Handler handler) {
  state_->routes.add(std::move(method), std::move(path), std::move(handler));
}

void Server::start() {
  state_->start();
}

std::vector<std::string> Server::routes() const {
  return state_->routes.all();
}

uint16_t Server::port() const {
  return state_->port;
}

uint32_t Server::connections() const {
  MutexLock lock(state_->mutex);
  return static_cast<uint32_t>(state_->connections.size());
}

void Server::stop(Time until) {
  const auto state = state_;
  const auto close_all = [&](bool is_hard) REQUIRES(state->mutex) {
    for (const auto& connection : state->connections) connection->close(is_hard);
  };
  MutexLock lock(state->mutex);
  const bool is_first = !std::exchange(state->is_stopping, true);
  if (is_first) {
    asio::post(state->acceptor.get_executor(), [state] {
      error_code ignored;
      state->acceptor.close(ignored);
      MutexLock inner(state->mutex);
      state->is_open = false;
      state->changed.notify_all();
    });
  }
  close_all(/*is_hard=*/false);
  const auto is_quiet = [&]() REQUIRES(state->mutex) {
    return state->connections.empty() && !state->is_accepting && !state->is_open;
  };
  state->changed.wait_until(state->mutex, until, is_quiet);
  while (!is_quiet()) {
    close_all(/*is_hard=*/true);
    state->changed.wait_for(state->mutex, std::chrono::milliseconds(50), is_quiet);
  }
}

}  // namespace dynamo::http
