#include "rpc/notice.h"

#include <gtest/gtest.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>

#include "base/check.h"

namespace dynamo::rpc {
namespace {

using namespace std::chrono_literals;

class NoticeTest : public testing::Test {
 protected:
  // Waits until `is_so_`, and counts how often it is woken.
  void spawn_waiter(Time until) {
    const auto wait = [](NoticeTest* test, Time limit) -> Task<void> {
      while (!test->is_so_ && Clock::steady().now() < limit) {
        co_await test->notice_.wait(limit);
        ++test->wakings_;
      }
      ++test->ended_;
    };
    boost::asio::co_spawn(io_, wait(this, until), [](std::exception_ptr failure) { CHECK(failure == nullptr); });
  }
  void run() {
    io_.run_for(10s);
    CHECK(io_.stopped());
    io_.restart();
  }

  boost::asio::io_context io_{1};
  Notice notice_{io_.get_executor()};
  bool is_so_ = false;
  int wakings_ = 0;
  int ended_ = 0;
};

TEST_F(NoticeTest, WakesAllThatWaitAndOnlyWhenNotified) {
  for (int i = 0; i < 5; ++i) spawn_waiter(Clock::steady().now() + 1h);
  io_.poll();
  EXPECT_EQ(wakings_, 0);
  is_so_ = true;
  notice_.notify();
  run();
  EXPECT_EQ(ended_, 5);
  EXPECT_EQ(wakings_, 5);
}

TEST_F(NoticeTest, EachWaiterHasItsOwnTime) {
  const Time now = Clock::steady().now();
  spawn_waiter(now + 30ms);
  spawn_waiter(now + 10ms);
  spawn_waiter(now + 20ms);
  run();
  EXPECT_EQ(ended_, 3);
  EXPECT_EQ(wakings_, 3);
}

TEST_F(NoticeTest, MayBeToldWhenNobodyWaits) {
  notice_.notify();
  spawn_waiter(Clock::steady().now());
  run();
  EXPECT_EQ(wakings_, 0);
}

}  // namespace
}  // namespace dynamo::rpc
