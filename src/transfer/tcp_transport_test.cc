#include <poll.h>
#include <sys/socket.h>

#include "base/testing/patience.h"
#include "transfer/end_metadata.h"
#include "transfer/tcp_frame.h"
#include "transfer/tcp_socket.h"
#include "transfer/testing/conformance.h"

namespace dynamo::transfer {

namespace {

// Several connections from the first put on, and all but the smallest puts in parts over them.
Result<std::unique_ptr<KvTransport>> make_with_lanes(TransportOptions options) {
  options.tcp = {.least = 3, .most = 3, .part_bytes = 4096};
  return make_tcp_transport(std::move(options));
}

const Backend kTcp{"tcp", make_tcp_transport};
const Backend kTcpLanes{"tcp_lanes", make_with_lanes};

}  // namespace

INSTANTIATE_TEST_SUITE_P(Tcp, Conformance, testing::Values(kTcp), name_of_backend);
INSTANTIATE_TEST_SUITE_P(TcpLanes, Conformance, testing::Values(kTcpLanes), name_of_backend);

namespace {

// A connection to `end` by someone who says what he wants.
class Stranger {
 public:
  explicit Stranger(End* end) : end_(end) {
    auto metadata = TcpMetadata::parse(end->transport().metadata());
    CHECK_OK(metadata);
    secret_ = metadata->secret;
    auto address = SocketAddress::of_number(metadata->host, metadata->port);
    CHECK_OK(address);
    auto socket = begin_connect(*address);
    CHECK_OK(socket);
    socket_ = std::move(*socket);
    end->poll(Clock::steady().now() + std::chrono::milliseconds(10));
  }
  void say(TcpFrameHeader header, std::string_view payload) {
    const std::string bytes = std::string(bytes_of(header)) + std::string(payload);
    CHECK(wait_until([&] { return ::send(socket_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL) >= 0; }));
  }
  void say_hello() {
    const std::string hello = hello_of(secret_);
    say({.type = TcpFrameType::kHello, .bytes = hello.size()}, hello);
  }
  // Whether the end closes the connection, in time.
  bool is_closed() {
    char byte = 0;
    return drive({end_}, [&] {
      const ssize_t count = ::recv(socket_.get(), &byte, 1, MSG_DONTWAIT);
      return count == 0 || (count < 0 && errno == ECONNRESET);
    });
  }

 private:
  End* end_;
  std::string secret_;
  Fd socket_;
};

TEST(TcpTransport, AStrangerCannotWrite) {
  End end(kTcp, 4096, "end");
  const TcpFrameRange range{0, 4};
  const std::string data = std::string(reinterpret_cast<const char*>(&range), sizeof(range)) + "evil";
  Stranger without_hello(&end);
  without_hello.say({.type = TcpFrameType::kData, .ranges = 1, .bytes = 4}, data);
  EXPECT_TRUE(without_hello.is_closed());
  Stranger with_a_guess(&end);
  const std::string hello = hello_of(std::string(kSecretBytes, 'x'));
  with_a_guess.say({.type = TcpFrameType::kHello, .bytes = hello.size()}, hello);
  EXPECT_TRUE(with_a_guess.is_closed());
  EXPECT_EQ(end.data()[0], std::byte{0});
}

TEST(TcpTransport, ARangeOutsideThePoolClosesTheConnectionUnwritten) {
  End end(kTcp, 4096, "end");
  for (const TcpFrameRange bad : {TcpFrameRange{4093, 4}, TcpFrameRange{UINT64_MAX, 4}, TcpFrameRange{0, 0}}) {
    Stranger stranger(&end);
    stranger.say_hello();
    const std::array<TcpFrameRange, 2> ranges = {TcpFrameRange{0, 4}, bad};
    const std::string table(reinterpret_cast<const char*>(ranges.data()), sizeof(ranges));
    stranger.say({.type = TcpFrameType::kData, .ranges = 2, .bytes = 4 + bad.bytes}, table + "evilevil");
    EXPECT_TRUE(stranger.is_closed());
    EXPECT_EQ(end.data()[0], std::byte{0});
  }
}

TEST(TcpTransport, AHostThatDoesNotExistIsUnavailable) {
  TransportOptions options;
  std::vector<std::byte> memory(64);
  options.pool = {.data = memory.data(), .bytes = memory.size()};
  for (const char* host : {"not an address", "[::1]", "localhost", "203.0.113.1"}) {
    options.host = host;
    const auto made = make_tcp_transport(options);
    EXPECT_EQ(made.status().code(), Code::kUnavailable) << host;
    EXPECT_NE(made.status().text().find(host), std::string::npos) << made.status().text();
  }
  // The last is no machine's (RFC 5737).
  EXPECT_NE(make_tcp_transport(options).status().text().find("--host"), std::string::npos);
}

TEST(TcpTransport, ListensWhereItIsToldAndSaysWhereItIsReached) {
  std::vector<std::byte> memory(64);
  const auto is_taken = [&](const std::string& host, const std::string& listen_host, const std::string& at) {
    TransportOptions options;
    options.pool = {.data = memory.data(), .bytes = memory.size()};
    options.host = host;
    options.listen_host = listen_host;
    auto made = make_tcp_transport(options);
    CHECK_OK(made);
    const auto metadata = TcpMetadata::parse((*made)->metadata());
    CHECK_OK(metadata);
    EXPECT_EQ(metadata->host, host);
    auto address = SocketAddress::of_number(at, metadata->port);
    CHECK_OK(address);
    auto socket = begin_connect(*address);
    if (!socket.is_ok()) return false;
    pollfd ready{.fd = socket->get(), .events = POLLOUT, .revents = 0};
    CHECK(::poll(&ready, 1, 20'000) == 1);  // loopback answers, one way or the other
    return connect_result(socket->get()).is_ok();
  };
  EXPECT_TRUE(is_taken("127.0.0.1", "", "127.0.0.1"));
  EXPECT_FALSE(is_taken("127.0.0.1", "", "127.0.0.2"));
  EXPECT_TRUE(is_taken("203.0.113.1", "127.0.0.2", "127.0.0.2"));
  EXPECT_FALSE(is_taken("203.0.113.1", "127.0.0.2", "127.0.0.1"));
  EXPECT_TRUE(is_taken("203.0.113.1", "0.0.0.0", "127.0.0.2"));
}

}  // namespace
}  // namespace dynamo::transfer
