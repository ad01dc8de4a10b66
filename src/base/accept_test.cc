#include "base/accept.h"

#include <gtest/gtest.h>

#include <boost/asio/co_spawn.hpp>

#include <stdexcept>
#include <vector>

#include "base/listen.h"
#include "base/testing/no_descriptors.h"

namespace dynamo {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;

class AcceptTest : public testing::Test {
 protected:
  AcceptTest() {
    CHECK(listen_on(&acceptor_, "127.0.0.1", 0).is_ok());
    Accepting how;
    how.name = "a test";
    how.thread_of_next = [this]() -> asio::io_context& {
      ++tries_;
      return io_;
    };
    how.on_next = [this](tcp::socket socket) {
      ++taken_;
      if (throws_) throw std::runtime_error("no room");
      sockets_.push_back(std::move(socket));
    };
    asio::co_spawn(io_, accept_until_closed(&acceptor_, std::move(how)), [this](const std::exception_ptr& failure) {
      CHECK(failure == nullptr);
      has_ended_ = true;
    });
  }
  void connect() {
    clients_.emplace_back(io_);
    clients_.back().connect(acceptor_.local_endpoint());
  }
  template <class Predicate>
  void run_until(Predicate is_so) {
    while (!is_so()) ASSERT_EQ(io_.run_one_for(std::chrono::seconds(20)), 1U);
  }

  asio::io_context io_{1};
  tcp::acceptor acceptor_{io_};
  std::vector<tcp::socket> clients_;
  std::vector<tcp::socket> sockets_;
  int tries_ = 0;  // accepts begun
  int taken_ = 0;
  bool throws_ = false;
  bool has_ended_ = false;
};

TEST_F(AcceptTest, TriesAgainAfterAPauseWhenThereAreNoDescriptors) {
  for (int i = 0; i < 3; ++i) connect();
  {
    const NoDescriptors none;
    const Time started = Clock::steady().now();
    run_until([this] { return tries_ == 5; });
    EXPECT_GE(Clock::steady().now() - started, 4 * kAcceptPause) << "each failure is followed by a pause";
    EXPECT_TRUE(sockets_.empty());
  }
  run_until([this] { return sockets_.size() == 3; });
}

TEST_F(AcceptTest, AnExceptionOfWhoTakesAConnectionDoesNotEndIt) {
  throws_ = true;
  connect();
  connect();
  run_until([this] { return taken_ == 2; });
  throws_ = false;
  connect();
  run_until([this] { return sockets_.size() == 1; });
  EXPECT_FALSE(has_ended_);
}

TEST_F(AcceptTest, EndsWhenTheAcceptorIsClosedAlsoInAPause) {
  throws_ = true;
  connect();
  run_until([this] { return taken_ == 1; });
  acceptor_.close();
  run_until([this] { return has_ended_; });
  EXPECT_EQ(taken_, 1);
}

}  // namespace
}  // namespace dynamo
