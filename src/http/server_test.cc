// The server as clients on real sockets find it: odd, slow, greedy and gone.
#include "http/server.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/write.hpp>

#include <atomic>

namespace dynamo::http {
namespace {

using namespace std::chrono_literals;
using boost::asio::ip::tcp;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::StartsWith;

// A blocking client that gives up after ten seconds.
class Peer {
 public:
  explicit Peer(uint16_t port, int receive_buffer = 0) : socket_(io_) {
    socket_.open(tcp::v4());
    if (receive_buffer > 0) socket_.set_option(boost::asio::socket_base::receive_buffer_size(receive_buffer));
    const timeval limit{10, 0};
    setsockopt(socket_.native_handle(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    socket_.connect(tcp::endpoint(boost::asio::ip::address_v4::loopback(), port));
  }
  bool send(std::string_view bytes) {
    boost::system::error_code error;
    boost::asio::write(socket_, boost::asio::buffer(bytes), error);
    return !error;
  }
  // What has come when `end` has, or the server closes.
  std::string read_until(std::string_view end) {
    while (received_.find(end) == std::string::npos && read_some()) {
    }
    return received_;
  }
  std::string read_all() {
    while (read_some()) {
    }
    return received_;
  }

 private:
  bool read_some() {
    char bytes[4096];
    const ssize_t count = recv(socket_.native_handle(), bytes, sizeof(bytes), 0);
    if (count > 0) received_.append(bytes, static_cast<size_t>(count));
    return count > 0;
  }

  boost::asio::io_context io_;
  tcp::socket socket_;
  std::string received_;
};

class ServerTest : public testing::Test {
 protected:
  void start(ServerOptions options = {}) {
    options.host = "127.0.0.1";
    options.port = 0;
    server_ = std::move(Server::listen(options, &io_threads_)).value();
    server_->route("POST", "/echo", [](const Request* request, ResponseWriter* response) -> Task<void> {
      return echo(request, response);
    });
    server_->route("GET", "/flood",
                   [this](const Request*, ResponseWriter* response) -> Task<void> { return flood(this, response); });
    server_->route("GET", "/odd-headers",
                   [](const Request*, ResponseWriter* response) -> Task<void> { return odd_headers(response); });
    server_->start();
  }
  void TearDown() override { server_->stop(Clock::steady().now()); }

  static Task<void> echo(const Request* request, ResponseWriter* response) {
    Response reply;
    reply.content_type = "text/plain";
    reply.body = "<" + request->body + ">";
    static_cast<void>(co_await response->send(std::move(reply)));
  }
  static Task<void> odd_headers(ResponseWriter* response) {
    Response head;
    head.headers = {{"x-worker", "worker-1\r\nset-cookie: session=evil"},
                    {"x-line", "a\nb"},
                    {"x-zero", std::string("a\0b", 3)},
                    {"x\r\nx-name", "v"},
                    {"", "v"},
                    {"x-good", "tab\tand \xC3\xA9"}};
    static_cast<void>(co_await response->begin(std::move(head)));
    static_cast<void>(co_await response->end());
  }
  // Writes 64 KiB pieces until it is told to stop.
  static Task<void> flood(ServerTest* test, ResponseWriter* response) {
    Response head;
    Status status = co_await response->begin(std::move(head));
    while (status.is_ok()) {
      std::string piece(64U << 10, 'x');
      status = co_await response->write(std::move(piece));
      if (status.is_ok()) ++test->written_;
    }
    test->flood_end_ = status.code();
    test->has_flood_ended_ = true;
  }
  template <class Predicate>
  static void wait_for(Predicate is_so) {
    const Time until = Clock::steady().now() + 10s;
    while (!is_so()) {
      ASSERT_LT(Clock::steady().now(), until);
      std::this_thread::sleep_for(1ms);
    }
  }

  IoThreads io_threads_{2};
  std::unique_ptr<Server> server_;
  std::atomic<int> written_{0};
  std::atomic<Code> flood_end_{Code::kOk};
  std::atomic<bool> has_flood_ended_{false};
};

TEST_F(ServerTest, ABodyInChunksSentByteByByteArrives) {
  start();
  Peer peer(server_->port());
  const std::string request =
      "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n4;a=\"b\"\r\nwiki\r\n5\r\npedia\r\n0\r\nT: "
      "v\r\n\r\n";
  for (const char byte : request) ASSERT_TRUE(peer.send(std::string_view(&byte, 1)));
  EXPECT_THAT(peer.read_until("<wikipedia>"), EndsWith("<wikipedia>"));
}

TEST_F(ServerTest, AClientThatExpectsContinueGetsItBeforeTheAnswer) {
  start();
  Peer peer(server_->port());
  peer.send("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n");
  EXPECT_THAT(peer.read_until("\r\n\r\n"), StartsWith("HTTP/1.1 100 Continue\r\n\r\n"));
  peer.send("hello");
  EXPECT_THAT(peer.read_until("<hello>"), HasSubstr("HTTP/1.1 200 OK"));
}

TEST_F(ServerTest, AnUnknownExpectationIsRefused) {
  start();
  Peer peer(server_->port());
  peer.send("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: the-moon\r\n\r\n");
  EXPECT_THAT(peer.read_all(), StartsWith("HTTP/1.1 417"));
}

TEST_F(ServerTest, ABodyTooLargeForTheLimitIsRefusedBeforeItIsSent) {
  ServerOptions options;
  options.max_body_bytes = 1000;
  start(options);
  Peer peer(server_->port());
  peer.send("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1001\r\nExpect: 100-continue\r\n\r\n");
  EXPECT_THAT(peer.read_all(), StartsWith("HTTP/1.1 413"));
}

TEST_F(ServerTest, TooManyHeaderBytesAreRefused) {
  ServerOptions options;
  options.max_header_bytes = 1000;
  start(options);
  Peer one_long(server_->port());
  one_long.send("GET /echo HTTP/1.1\r\nHost: x\r\nCookie: " + std::string(2000, 'c') + "\r\n\r\n");
  EXPECT_THAT(one_long.read_all(), StartsWith("HTTP/1.1 431"));
  Peer without_end(server_->port());
  std::string many = "GET /echo HTTP/1.1\r\nHost: x\r\n";
  for (int i = 0; i < 200; ++i) many += "X-" + std::to_string(i) + ": y\r\n";
  without_end.send(many);
  EXPECT_THAT(without_end.read_all(), StartsWith("HTTP/1.1 431"));
}

TEST_F(ServerTest, ARequestThatStopsHalfWayTimesOut) {
  ServerOptions options;
  options.read_timeout = 100ms;
  start(options);
  for (const char* half : {"POST /ec", "POST /echo HTTP/1.1\r\nHost: x\r\n",
                           "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf"}) {
    Peer peer(server_->port());
    peer.send(half);
    EXPECT_THAT(peer.read_all(), StartsWith("HTTP/1.1 408")) << half;
  }
  wait_for([&] { return server_->connections() == 0; });
}

TEST_F(ServerTest, ARequestThatTricklesTimesOutAsAWhole) {
  ServerOptions options;
  options.read_timeout = 200ms;
  start(options);
  Peer peer(server_->port());
  peer.send("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n");
  const Time until = Clock::steady().now() + 10s;
  while (server_->connections() > 0 && Clock::steady().now() < until) {
    peer.send("x");
    std::this_thread::sleep_for(10ms);
  }
  EXPECT_EQ(server_->connections(), 0U);
}

TEST_F(ServerTest, AReaderThatStopsIsCutOffAndHeldUpNoMoreThanItsSocketHolds) {
  ServerOptions options;
  options.write_timeout = 200ms;
  start(options);
  Peer peer(server_->port(), /*receive_buffer=*/4096);
  peer.send("GET /flood HTTP/1.1\r\nHost: x\r\n\r\n");
  wait_for([&] { return has_flood_ended_.load(); });
  EXPECT_EQ(flood_end_, Code::kDeadline);
  EXPECT_LT(written_, 160);  // 10 MiB: the kernel's own buffers, nothing kept by us
  wait_for([&] { return server_->connections() == 0; });
}

TEST_F(ServerTest, AReaderWithASmallWindowGetsAll) {
  start();
  Peer peer(server_->port(), /*receive_buffer=*/4096);
  const std::string body(2U << 20, 'b');
  std::thread sender([&] {
    peer.send(
        fmt::format("POST /echo HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.size()));
    peer.send(body);
  });
  const std::string reply = peer.read_all();
  sender.join();
  EXPECT_THAT(reply, StartsWith("HTTP/1.1 200 OK"));
  EXPECT_EQ(reply.substr(reply.find("\r\n\r\n") + 4), "<" + body + ">");
}

TEST_F(ServerTest, NoValueOfAHeaderBecomesAnotherHeader) {
  start();
  Peer peer(server_->port());
  ASSERT_TRUE(peer.send("GET /odd-headers HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"));
  EXPECT_EQ(peer.read_all(),
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nx-good: tab\tand \xC3\xA9\r\ntransfer-encoding: "
            "chunked\r\nconnection: close\r\n\r\n0\r\n\r\n");
}

TEST_F(ServerTest, MoreConnectionsThanAllowedAreClosedAtOnceAndTheOthersServed) {
  ServerOptions options;
  options.max_connections = 2;
  start(options);
  Peer first(server_->port());
  Peer second(server_->port());
  wait_for([&] { return server_->connections() == 2; });
  Peer third(server_->port());
  EXPECT_EQ(third.read_all(), "");
  first.send("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi");
  EXPECT_THAT(first.read_until("<hi>"), HasSubstr("200 OK"));
}

}  // namespace
}  // namespace dynamo::http
