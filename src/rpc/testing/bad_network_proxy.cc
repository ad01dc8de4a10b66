#include "rpc/testing/bad_network_proxy.h"

#include <algorithm>
#include <atomic>
#include <future>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/write.hpp>

#include "base/check.h"
#include "rpc/notice.h"

namespace dynamo::rpc {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;

enum Direction { kToServer, kToAsker };

constexpr int kBufferBytes = 64 << 10;  // of the kernel, so that what a stalled network holds is little

const tcp::endpoint kAnyPort(asio::ip::address_v4::loopback(), 0);

}  // namespace

struct BadNetworkProxy::Connection {
  explicit Connection(tcp::socket from) : asker(std::move(from)), server(asker.get_executor()) {}

  tcp::socket asker;
  tcp::socket server;
  uint32_t number = 0;
  Weather weather;

  // A hard end throws away what is on its way; the other delivers it first.
  void close(bool is_hard) {
    for (tcp::socket* socket : {&asker, &server}) {
      error_code ignored;
      if (is_hard) socket->set_option(asio::socket_base::linger(true, 0), ignored);
      socket->close(ignored);
    }
  }
};

// All on the proxy's thread, but `cuts`.
struct BadNetworkProxy::State {
  State(asio::io_context* io, uint16_t target_port, uint32_t with_seed)
      : acceptor(*io, kAnyPort),
        port(acceptor.local_endpoint().port()),
        target(asio::ip::address_v4::loopback(), target_port),
        seed(with_seed),
        passes(io->get_executor()) {
    acceptor.set_option(asio::socket_base::receive_buffer_size(kBufferBytes));
  }

  tcp::acceptor acceptor;
  uint16_t port;
  tcp::endpoint target;
  uint32_t seed;
  Weather weather;
  uint32_t connections = 0;  // so far
  std::vector<std::weak_ptr<Connection>> open;
  bool is_stalled[2] = {false, false};
  Notice passes;  // told when a stall ends
  std::atomic<uint32_t> cuts{0};

  static Task<void> accept_all(std::shared_ptr<State> self) {
    for (;;) {
      error_code error;
      tcp::socket socket = co_await self->acceptor.async_accept(asio::redirect_error(asio::use_awaitable, error));
      if (error) co_return;
      auto connection = std::make_shared<Connection>(std::move(socket));
      connection->number = self->connections++;
      connection->weather = self->weather;
      std::erase_if(self->open, [](const auto& one) { return one.expired(); });
      self->open.push_back(connection);
      asio::co_spawn(self->acceptor.get_executor(), serve(self, connection), asio::detached);
    }
  }

  static Task<void> serve(std::shared_ptr<State> self, std::shared_ptr<Connection> connection) {
    error_code error;
    connection->server.open(tcp::v4(), error);
    connection->server.set_option(asio::socket_base::receive_buffer_size(kBufferBytes), error);
    co_await connection->server.async_connect(self->target, asio::redirect_error(asio::use_awaitable, error));
    if (error) {
      connection->close(false);
      co_return;
    }
    for (tcp::socket* socket : {&connection->asker, &connection->server})
      socket->set_option(tcp::no_delay(true), error);
    const auto executor = self->acceptor.get_executor();
    asio::co_spawn(executor, relay(self, connection, kToServer), asio::detached);
    asio::co_spawn(executor, relay(self, connection, kToAsker), asio::detached);
  }

  static Task<void> relay(std::shared_ptr<State> self, std::shared_ptr<Connection> connection, Direction direction) {
    tcp::socket& from = direction == kToServer ? connection->asker : connection->server;
    tcp::socket& to = direction == kToServer ? connection->server : connection->asker;
    const Weather weather = connection->weather;
    std::seed_seq seeds{self->seed, connection->number, static_cast<uint32_t>(direction)};
    std::mt19937_64 random(seeds);
    uint64_t left = weather.cut_within > 0 ? random() % weather.cut_within : std::numeric_limits<uint64_t>::max();
    std::string bytes(weather.longest_piece, '\0');
    asio::steady_timer timer(self->acceptor.get_executor());
    error_code error;
    while (left > 0) {
      const uint64_t most = std::min<uint64_t>(1 + random() % weather.longest_piece, left);
      const size_t count =
          co_await from.async_read_some(asio::buffer(bytes, most), asio::redirect_error(asio::use_awaitable, error));
      if (!error && weather.longest_delay.count() > 0) {
        error_code ignored;
        timer.expires_after(std::chrono::microseconds(random() % (weather.longest_delay.count() + 1)));
        co_await timer.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
      }
      while (self->is_stalled[direction]) co_await self->passes.wait(Time::max());
      if (!error)
        co_await asio::async_write(to, asio::buffer(bytes, count), asio::redirect_error(asio::use_awaitable, error));
      if (error) {
        connection->close(false);
        co_return;
      }
      left -= count;
    }
    ++self->cuts;
    connection->close(random() % 2 == 0);
  }
};

BadNetworkProxy::BadNetworkProxy(uint16_t target_port, uint32_t seed)
    : state_(std::make_shared<State>(&io_.at(0), target_port, seed)) {
  asio::co_spawn(io_.at(0), State::accept_all(state_), asio::detached);
}

BadNetworkProxy::~BadNetworkProxy() {
  io_.stop();
}

uint16_t BadNetworkProxy::port() const {
  return state_->port;
}

uint32_t BadNetworkProxy::cuts() const {
  return state_->cuts;
}

void BadNetworkProxy::set(Weather weather) {
  CHECK(weather.longest_piece > 0);
  asio::post(io_.at(0), [state = state_, weather] { state->weather = weather; });
}

void BadNetworkProxy::stall(bool to_server, bool to_asker) {
  asio::post(io_.at(0), [state = state_, to_server, to_asker] {
    state->is_stalled[kToServer] = to_server;
    state->is_stalled[kToAsker] = to_asker;
    state->passes.notify();
  });
}

void BadNetworkProxy::cut_all() {
  asio::post(io_.at(0), [state = state_] {
    for (const auto& one : state->open)
      if (const auto connection = one.lock()) connection->close(true);
  });
}

}  // namespace dynamo::rpc
