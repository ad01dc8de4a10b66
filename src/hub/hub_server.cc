#include "hub/hub_server.h"

#include <boost/asio/buffer.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>

#include <exception>
#include <future>
#include <set>

#include <fmt/format.h>

#include "base/host_port.h"
#include "base/listener.h"
#include "base/log.h"
#include "base/random.h"
#include "base/task.h"

namespace dynamo::hub {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;

constexpr size_t kReadBytes = 64U << 10;
constexpr std::chrono::milliseconds kTickInterval{100};
constexpr std::chrono::milliseconds kFarewell{500};  // for a client to take our last words
constexpr std::chrono::seconds kStandstill{1};       // a tick that is this late: the hub itself did not run

std::span<const std::byte> bytes_of(const std::string& buffer, size_t count) {
  return std::as_bytes(std::span(buffer.data(), count));
}

}  // namespace

struct HubServer::State : std::enable_shared_from_this<HubServer::State> {
  State(HubOptions given, asio::io_context* context)
      : options(std::move(given)), io(context), ticker(*context), core(options.limits, random_bits()) {}

  // One client's connection.
  struct Session final : Listener::Connection {
    Session(tcp::socket accepted, std::shared_ptr<State> of)
        : state(std::move(of)), socket(std::move(accepted)), wake(socket.get_executor()) {
      error_code ignored;
      const auto endpoint = socket.remote_endpoint(ignored);
      client = host_port_text(endpoint.address().to_string(), endpoint.port());
    }

    Task<void> serve() override { return state->serve(this); }
    void close(bool) override {
      error_code ignored;
      socket.close(ignored);
      wake.cancel();
    }

    const std::shared_ptr<State> state;
    tcp::socket socket;
    asio::steady_timer wake;  // cancelled when there is something to write, or nothing more will be
    Peer* peer = nullptr;
    std::string client;
    Time last_heard = Clock::steady().now();
    Time close_at = Time::max();
    bool is_ending = false;  // what is queued is still written, then the connection ends
  };

  HubOptions options;
  asio::io_context* io;
  std::shared_ptr<Listener> listener;
  asio::steady_timer ticker;
  HubCore core;
  std::set<Session*> sessions;
  bool is_stopping = false;
  std::promise<void> quiet;  // set when nothing ticks any more
  std::shared_future<void> is_quiet = quiet.get_future().share();

  void start();
  Task<void> tick_all();
  void tick(Time now);
  Task<void> serve(Session* session);
  Task<void> read_all(Session* session);
  Task<void> write_all(Session* session);
  Status take_frames(Session* session, wire::FrameReader* reader);
  void refuse(Session* session, const Status& why);
};

void HubServer::State::start() {
  listener->start(
      [self = shared_from_this()](tcp::socket socket) { return std::make_shared<Session>(std::move(socket), self); });
  asio::co_spawn(*io, tick_all(), [self = shared_from_this()](const std::exception_ptr& failure) {
    if (failure) LOG(error, "a coroutine of the hub ended with an exception");
    self->quiet.set_value();
  });
}

Task<void> HubServer::State::serve(Session* session) {
  using asio::experimental::awaitable_operators::operator&&;
  struct Present {
    State* state;
    Session* session;
    ~Present() {
      state->core.remove(session->peer);
      state->sessions.erase(session);
    }
  };
  session->peer = core.add([session] { session->wake.cancel(); });
  const Present present{this, session};
  sessions.insert(session);
  co_await (read_all(session) && write_all(session));
}

Task<void> HubServer::State::read_all(Session* session) {
  wire::FrameReader reader;
  std::string buffer(kReadBytes, '\0');
  error_code error;
  while (!error) {
    const size_t count = co_await session->socket.async_read_some(asio::buffer(buffer),
                                                                  asio::redirect_error(asio::use_awaitable, error));
    // Once the client is refused, what it still sends is only read so that closing does not reset our last words.
    if (error || session->is_ending) continue;
    session->last_heard = Clock::steady().now();
    core.renew(*session->peer, session->last_heard);
    reader.push(bytes_of(buffer, count));
    if (const Status status = take_frames(session, &reader); !status.is_ok()) refuse(session, status);
  }
  session->close(/*is_hard=*/true);
}

Status HubServer::State::take_frames(Session* session, wire::FrameReader* reader) {
  for (;;) {
    TRY(const auto frame, reader->next());
    if (!frame) return {};
    TRY_STATUS(core.receive(session->peer, *frame, session->last_heard));
  }
}

void HubServer::State::refuse(Session* session, const Status& why) {
  LOG(warn, "a client of the hub was cut off", {"client", session->client}, {"why", why.to_string()});
  session->peer->queue.push(std::make_shared<const std::string>(error_frame(why.text())));
  session->is_ending = true;
  session->close_at = Clock::steady().now() + kFarewell;
  session->wake.cancel();
}

Task<void> HubServer::State::write_all(Session* session) {
  while (session->socket.is_open()) {
    const std::vector<SharedFrame> frames = session->peer->queue.take(kWriteBytes);
    error_code error;
    if (!frames.empty()) {
      std::vector<asio::const_buffer> buffers;
      for (const SharedFrame& frame : frames) buffers.push_back(asio::buffer(*frame));
      co_await asio::async_write(session->socket, buffers, asio::redirect_error(asio::use_awaitable, error));
      if (error) session->close(/*is_hard=*/true);
    } else if (session->is_ending) {
      session->socket.shutdown(tcp::socket::shutdown_send, error);
      break;
    } else {
      session->wake.expires_at(Time::max());
      co_await session->wake.async_wait(asio::redirect_error(asio::use_awaitable, error));
    }
  }
}

Task<void> HubServer::State::tick_all() {
  Time last = Clock::steady().now();
  while (!is_stopping) {
    error_code ignored;
    ticker.expires_after(kTickInterval);
    co_await ticker.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
    if (is_stopping) break;
    const Time now = Clock::steady().now();
    const Duration late = now - last - kTickInterval;
    const Duration stood_still = late > kStandstill ? late : Duration::zero();
    for (const auto& session : sessions) session->last_heard += stood_still;
    core.tick(now, stood_still);
    tick(now);
    last = now;
  }
}

void HubServer::State::tick(Time now) {
  for (const auto& session : sessions) {
    if (!session->socket.is_open()) continue;
    std::string_view why;
    if (session->peer->queue.is_overrun()) {
      why = "it took key changes too slowly";
    } else if (now - session->last_heard > options.max_silence) {
      why = "it was silent for too long";
    } else if (now < session->close_at) {
      continue;
    }
    if (!why.empty()) LOG(warn, "a client of the hub was cut off", {"client", session->client}, {"why", why});
    session->close(/*is_hard=*/true);
  }
}

HubServer::HubServer(std::shared_ptr<State> state) : state_(std::move(state)) {}
HubServer::~HubServer() {
  CHECK(state_->is_quiet.wait_for(std::chrono::seconds(0)) == std::future_status::ready);
}

Result<std::unique_ptr<HubServer>> HubServer::listen(HubOptions options, IoThreads* io) {
  Listener::Options where{.name = "the hub", .host = options.host, .port = options.port};
  where.only_thread = &io->next();
  auto state = std::make_shared<State>(std::move(options), where.only_thread);
  TRY(state->listener, Listener::open(std::move(where), io));
  state->start();
  return std::unique_ptr<HubServer>(new HubServer(std::move(state)));
}

uint16_t HubServer::port() const {
  return state_->listener->port();
}

void HubServer::stop() {
  state_->listener->stop(Clock::steady().now());
  asio::post(*state_->io, [state = state_] {
    state->is_stopping = true;
    state->ticker.cancel();
  });
  state_->is_quiet.wait();
}

}  // namespace dynamo::hub
