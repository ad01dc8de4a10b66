#include "base/listener.h"

#include <gtest/gtest.h>

#include <boost/asio/buffer.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>

#include <atomic>
#include <deque>
#include <stdexcept>
#include <thread>

#include "base/testing/patience.h"

namespace dynamo {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;

// Lives until its client is gone, or for as long as it is told that it has work.
struct Guest final : Listener::Connection {
  explicit Guest(tcp::socket from) : socket(std::move(from)) {}
  Task<void> serve() override {
    boost::system::error_code error;
    char byte = 0;
    while (!error) {
      co_await socket.async_read_some(asio::buffer(&byte, 1), asio::redirect_error(asio::use_awaitable, error));
      if (byte == 'x') throw std::runtime_error("a guest's bug");
      has_work = byte == 'w';
    }
  }
  void close(bool is_hard) override {
    if (!is_hard && has_work) return;
    boost::system::error_code ignored;
    socket.close(ignored);
  }
  tcp::socket socket;
  std::atomic<bool> has_work = false;
};

class ListenerTest : public testing::Test {
 protected:
  void open(uint32_t max_connections = UINT32_MAX) {
    listener_ =
        Listener::open({.name = "a test", .host = "127.0.0.1", .max_connections = max_connections}, &io_).value();
    listener_->start([this](tcp::socket socket) {
      last_ = std::make_shared<Guest>(std::move(socket));
      ++made_;
      return last_;
    });
  }
  ~ListenerTest() override {
    if (listener_) listener_->stop(Clock::steady().now());
  }
  tcp::socket& connect() {
    clients_.emplace_back(here_);
    clients_.back().connect({asio::ip::make_address("127.0.0.1"), listener_->port()});
    return clients_.back();
  }
  bool has(uint32_t connections) {
    return wait_until([&] { return listener_->connections() == connections; });
  }

  IoThreads io_{2};
  asio::io_context here_{1};
  std::shared_ptr<Listener> listener_;
  std::atomic<int> made_ = 0;
  std::shared_ptr<Guest> last_;  // read when made_ has changed
  std::deque<tcp::socket> clients_;
};

TEST_F(ListenerTest, CountsConnectionsForAsLongAsTheyLive) {
  open();
  connect();
  connect();
  EXPECT_TRUE(has(2));
  clients_.front().close();
  EXPECT_TRUE(has(1));
}

TEST_F(ListenerTest, ClosesThoseBeyondItsMostAtOnce) {
  open(/*max_connections=*/1);
  connect();
  EXPECT_TRUE(has(1));
  tcp::socket& second = connect();
  char byte = 0;
  boost::system::error_code error;
  second.read_some(asio::buffer(&byte, 1), error);
  EXPECT_TRUE(error) << "the end, or a reset";
  EXPECT_EQ(made_, 1);
}

TEST_F(ListenerTest, AConnectionThatThrowsEndsAloneAndStopDoesNotWaitForIt) {
  open();
  tcp::socket& first = connect();
  connect();
  EXPECT_TRUE(has(2));
  asio::write(first, asio::buffer("x", 1));
  EXPECT_TRUE(has(1));
}

TEST_F(ListenerTest, StopEndsTheIdleAtOnceAndTheOthersWhenTheirWorkIsDone) {
  open();
  tcp::socket& busy = connect();
  EXPECT_TRUE(wait_until([&] { return made_ == 1; }));
  const std::shared_ptr<Guest> guest = last_;
  asio::write(busy, asio::buffer("w", 1));
  EXPECT_TRUE(wait_until([&] { return guest->has_work.load(); }));
  connect();
  EXPECT_TRUE(has(2));
  std::thread stopping([this] { listener_->stop(Time::max()); });
  EXPECT_TRUE(has(1));
  asio::write(busy, asio::buffer("-", 1));
  stopping.join();
  EXPECT_EQ(listener_->connections(), 0U);
}

TEST_F(ListenerTest, StopEndsAllWhenTheTimeHasCome) {
  open();
  tcp::socket& busy = connect();
  EXPECT_TRUE(has(1));
  asio::write(busy, asio::buffer("w", 1));
  listener_->stop(Clock::steady().now());
  EXPECT_EQ(listener_->connections(), 0U);
  listener_->stop(Clock::steady().now());
}

TEST_F(ListenerTest, StopWithoutAStartClosesTheSocket) {
  listener_ = Listener::open({.name = "a test", .host = "127.0.0.1"}, &io_).value();
  listener_->stop(Clock::steady().now());
  boost::system::error_code error;
  tcp::socket late(here_);
  late.connect({asio::ip::make_address("127.0.0.1"), listener_->port()}, error);
  EXPECT_TRUE(error);
}

}  // namespace
}  // namespace dynamo
