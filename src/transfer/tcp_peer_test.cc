// Connections of one peer that come, go and are lost, against a receiver that the test drives by hand, one connection at a time.
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>

#include "base/testing/patience.h"
#include "transfer/end_metadata.h"
#include "transfer/tcp_incoming.h"
#include "transfer/tcp_socket.h"
#include "transfer/testing/end.h"

namespace dynamo::transfer {
namespace {

constexpr uint64_t kBytes = 64U << 20;
constexpr uint64_t kSmall = 4096;
constexpr const char* kThisHost = "127.0.0.1";
constexpr const char* kLikeAnotherHost = "127.0.0.2";  // connections to it come from 127.0.0.1

class HandDriven {
 public:
  explicit HandDriven(const std::string& host) {
    auto address = SocketAddress::of_number(host, 0);
    CHECK_OK(address);
    auto listener = listen_on(&*address);
    CHECK_OK(listener);
    listener_ = std::move(*listener);
    metadata_.host = address->host();
    metadata_.port = address->port();
    metadata_.secret = std::string(kSecretBytes, 's');
    metadata_.pool_bytes = kBytes;
    metadata_.name = "hand-driven";
  }

  std::string metadata() const { return metadata_.to_bytes(); }
  std::byte* data() { return pool_.data(); }
  size_t connections() const { return connections_.size(); }
  // Returns: whether there was a connection to take.
  bool accept() {
    Fd socket(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!socket.is_open()) return false;
    connections_.push_back({std::move(socket), TcpIncoming(hello_of(metadata_.secret), pool_, &writer_)});
    return true;
  }
  // Takes in what has come on a connection, and answers. Returns: false if it was closed.
  bool serve(size_t at) {
    Connection& one = connections_[at];
    for (;;) {
      std::array<iovec, TcpIncoming::kMostParts> parts;
      msghdr message = {};
      message.msg_iov = parts.data();
      message.msg_iovlen = one.incoming.next_parts(parts);
      const ssize_t count = ::recvmsg(one.socket.get(), &message, 0);
      const bool is_dry = count < 0 && errno == EAGAIN;
      const auto came = static_cast<size_t>(std::max<ssize_t>(count, 0));
      std::string replies;
      CHECK(one.incoming.received(came, &notifications, &replies).is_ok());
      if (came == 0) return is_dry;
      one.received_bytes += came;
      CHECK(::send(one.socket.get(), replies.data(), replies.size(), MSG_NOSIGNAL) >= 0);
    }
  }
  void serve_all() {
    while (accept()) {
    }
    for (size_t at = 0; at < connections_.size(); ++at) serve(at);
  }
  size_t received_bytes(size_t at) const { return connections_[at].received_bytes; }
  void close(size_t at) { connections_[at].socket.reset(); }
  void stop_listening() { listener_.reset(); }

  std::vector<std::string> notifications;

 private:
  struct Connection {
    Fd socket;
    TcpIncoming incoming;
    size_t received_bytes = 0;
  };

  std::vector<std::byte> pool_ = std::vector<std::byte>(kBytes);
  PermitWriter writer_;
  TcpMetadata metadata_;
  Fd listener_;
  std::vector<Connection> connections_;
};

Backend with(TcpConnections connections) {
  return {"tcp", [connections](TransportOptions options) {
            options.tcp = connections;
            return make_tcp_transport(std::move(options));
          }};
}

// An end, and a hand-driven peer of it.
struct Pair {
  Pair(const char* host, TcpConnections connections, Duration patience = std::chrono::seconds(20))
      : receiver(host), sender(with(connections), kBytes, "sender", patience) {
    auto added = sender.transport().add_peer(receiver.metadata());
    CHECK_OK(added);
    peer = *added;
  }
  PutId put(uint64_t bytes, const std::string& notification) { return sender.put(peer, {{0, 0, bytes}}, notification); }
  // Until `condition`; `receive` is what the receiver does meanwhile.
  bool drive(const std::function<void()>& receive, const std::function<bool()>& condition) {
    const Time until = soon();
    while (!condition()) {
      if (Clock::steady().now() > until) return false;
      receive();
      sender.poll(Clock::steady().now() + std::chrono::milliseconds(1));
    }
    return true;
  }
  bool drive_all(const std::function<bool()>& condition) {
    return drive([this] { receiver.serve_all(); }, condition);
  }
  // Opens `connections`, and sees all of them carry data.
  void greet(size_t connections) {
    size_t puts = 0;
    CHECK(drive_all([&] {
      sender.put(peer, {{0, 0, 16 * kSmall}}, "greeting");
      ++puts;
      if (receiver.connections() < connections) return false;
      for (size_t at = 0; at < connections; ++at)
        if (receiver.received_bytes(at) < kSmall) return false;
      return true;
    }));
    CHECK(drive_all([&] { return sender.finished.size() == puts; }));
    receiver.notifications.clear();
  }

  HandDriven receiver;
  End sender;
  PeerId peer = 0;
};

constexpr TcpConnections kTwo{.least = 2, .most = 2, .part_bytes = kSmall};
constexpr TcpConnections kUpToThree{.least = 1, .most = 3, .part_bytes = 64U << 10};

TEST(TcpPeer, ASplitPutIsNotifiedOnceAndAfterAllConnectionsHaveDelivered) {
  Pair pair(kThisHost, kTwo);
  pair.greet(2);
  fill(pair.sender.data(), 32 * kSmall, 5);
  const PutId put = pair.put(32 * kSmall, "split");
  for (int round = 0; round < 20; ++round)
    pair.drive([&] { pair.receiver.serve(0); }, [once = 0]() mutable { return once++ > 0; });
  EXPECT_TRUE(pair.receiver.notifications.empty());
  EXPECT_FALSE(pair.sender.has_finished(put));
  EXPECT_FALSE(holds(pair.receiver.data(), 32 * kSmall, 5)) << "the other connection carries half of it";
  ASSERT_TRUE(pair.drive_all([&] { return pair.sender.has_finished(put); }));
  EXPECT_TRUE(pair.sender.how(put).is_ok());
  EXPECT_TRUE(holds(pair.receiver.data(), 32 * kSmall, 5));
  EXPECT_EQ(pair.receiver.notifications, std::vector<std::string>{"split"});
}

TEST(TcpPeer, ALostConnectionEndsThePeerAndTheNextPutReconnects) {
  Pair pair(kThisHost, kTwo);
  pair.greet(2);
  const PutId split = pair.put(32 * kSmall, "split");
  const PutId small = pair.put(8, "small");
  pair.drive([&] { pair.receiver.serve(0); }, [rounds = 0]() mutable { return rounds++ > 5; });
  pair.receiver.close(1);
  ASSERT_TRUE(pair.drive([] {}, [&] { return pair.sender.has_finished(split) && pair.sender.has_finished(small); }));
  EXPECT_EQ(pair.sender.how(split).code(), Code::kUnavailable);
  ASSERT_TRUE(wait_until([&] { return !pair.receiver.serve(0); })) << "the other connection is closed too";
  EXPECT_EQ(std::ranges::count(pair.receiver.notifications, "split"), 0);
  fill(pair.sender.data(), 32 * kSmall, 6);
  const PutId again = pair.put(32 * kSmall, "again");
  ASSERT_TRUE(pair.drive(
      [&] {
        while (pair.receiver.accept()) {
        }
        for (size_t at = 2; at < pair.receiver.connections(); ++at) pair.receiver.serve(at);
      },
      [&] { return pair.sender.has_finished(again); }));
  EXPECT_TRUE(pair.sender.how(again).is_ok());
  EXPECT_TRUE(holds(pair.receiver.data(), 32 * kSmall, 6));
}

TEST(TcpPeer, AnIdleConnectionThatIsClosedHarmsNoPut) {
  for (const size_t idle : {0, 1}) {
    Pair pair(kThisHost, kTwo);
    pair.greet(2);
    // As much as goes at once, so that the next goes on the other.
    std::array<PutId, 2> puts = {pair.put(0, std::string(kMostNotificationBytes, 'x')), pair.put(8, "small")};
    ASSERT_TRUE(pair.drive([&] { pair.receiver.serve(idle); }, [&] { return pair.sender.has_finished(puts[idle]); }));
    ASSERT_FALSE(pair.sender.has_finished(puts[1 - idle]));
    pair.receiver.close(idle);
    pair.drive([] {}, [rounds = 0]() mutable { return rounds++ > 5; });
    ASSERT_TRUE(
        pair.drive([&] { pair.receiver.serve(1 - idle); }, [&] { return pair.sender.has_finished(puts[1 - idle]); }));
    for (const PutId put : puts) EXPECT_TRUE(pair.sender.how(put).is_ok()) << pair.sender.how(put).to_string();
    const PutId next = pair.put(8, "next");
    ASSERT_TRUE(pair.drive_all([&] { return pair.sender.has_finished(next) && pair.receiver.connections() == 3; }));
    EXPECT_TRUE(pair.sender.how(next).is_ok());
  }
}

TEST(TcpPeer, MoreConnectionsAreOpenedWhileDataWaitsThatNoneTakes) {
  Pair pair(kLikeAnotherHost, kUpToThree);
  pair.greet(1);
  fill(pair.sender.data(), kBytes, 7);
  const PutId small = pair.put(64U << 10, "small");
  ASSERT_TRUE(pair.drive_all([&] { return pair.sender.has_finished(small); }));
  EXPECT_EQ(pair.receiver.connections(), 1);
  const PutId put = pair.put(kBytes, "large");
  for (size_t more = 2; more <= 3; ++more) {  // each is filled before the next is opened
    ASSERT_TRUE(pair.drive([] {}, [&] { return pair.receiver.accept(); })) << more;
    ASSERT_TRUE(pair.drive([&] { pair.receiver.serve(more - 1); },
                           [&] { return pair.receiver.received_bytes(more - 1) > (1U << 20); }));
  }
  ASSERT_TRUE(pair.drive_all([&] { return pair.sender.has_finished(put); }));
  EXPECT_TRUE(pair.sender.how(put).is_ok());
  EXPECT_TRUE(holds(pair.receiver.data(), kBytes, 7));
  EXPECT_EQ(pair.receiver.connections(), 3);
}

TEST(TcpPeer, APeerOnThisHostGetsOneConnection) {
  Pair pair(kThisHost, kUpToThree);
  pair.greet(1);
  const PutId put = pair.put(kBytes, "large");
  pair.drive([] {}, [rounds = 0]() mutable { return rounds++ > 20; });
  ASSERT_TRUE(pair.drive_all([&] { return pair.sender.has_finished(put); }));
  EXPECT_EQ(pair.receiver.connections(), 1);
}

TEST(TcpPeer, WhereNoMoreConnectionsAreTakenOneIsEnough) {
  Pair pair(kLikeAnotherHost, kUpToThree);
  pair.greet(1);
  pair.receiver.stop_listening();
  fill(pair.sender.data(), kBytes, 8);
  const PutId put = pair.put(kBytes, "large");
  pair.drive([] {}, [rounds = 0]() mutable { return rounds++ > 20; });
  ASSERT_TRUE(pair.drive_all([&] { return pair.sender.has_finished(put); }));
  EXPECT_TRUE(pair.sender.how(put).is_ok()) << pair.sender.how(put).to_string();
  EXPECT_TRUE(holds(pair.receiver.data(), kBytes, 8));
}

TEST(TcpPeer, AConnectionThatGivesNoSignOfLifeEndsThePeerThoughOthersDo) {
  Pair pair(kThisHost, kTwo, /*patience=*/std::chrono::milliseconds(500));
  pair.greet(2);
  const PutId put = pair.put(32 * kSmall, "split");
  ASSERT_TRUE(pair.drive([&] { pair.receiver.serve(0); }, [&] { return pair.sender.has_finished(put); }));
  EXPECT_EQ(pair.sender.how(put).code(), Code::kUnavailable);
  EXPECT_TRUE(pair.receiver.notifications.empty());
}

TEST(TcpPeer, APeerWhoseKernelTakesPingsButThatAnswersNoneIsGivenUp) {
  Pair pair(kThisHost, {.least = 1, .most = 1}, /*patience=*/std::chrono::milliseconds(500));
  pair.greet(1);
  const PutId put = pair.put(8, "small");
  ASSERT_TRUE(pair.drive([] {}, [&] { return pair.sender.has_finished(put); }));
  EXPECT_EQ(pair.sender.how(put).code(), Code::kUnavailable);
}

}  // namespace
}  // namespace dynamo::transfer
