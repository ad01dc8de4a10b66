#include "router/waiting_line.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>

#include <string>
#include <vector>

#include "base/testing/fake_clock.h"

namespace dynamo::router {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

class WaitingLineTest : public testing::Test {
 protected:
  // Each request takes one place; those of `slow_` are not over when they have it.
  void arrive(const std::string& name, int32_t priority = 0, boost::asio::cancellation_signal* leave = nullptr) {
    const auto attempt = [this, name] {
      tried_.push_back(name);
      if (places_ == 0) return false;
      --places_;
      return true;
    };
    const auto ended = [this, name](std::exception_ptr, const Status& status) {
      ended_.push_back(name + (status.is_ok() ? "" : ": " + status.to_string()));
    };
    auto task = line_.admit(priority, clock_.now() + std::chrono::seconds(10), attempt);
    if (leave != nullptr) {
      boost::asio::co_spawn(io_, std::move(task), boost::asio::bind_cancellation_slot(leave->slot(), ended));
    } else {
      boost::asio::co_spawn(io_, std::move(task), ended);
    }
    settle();
  }
  void free_places(int count) {
    {
      MutexLock lock(mutex_);
      places_ += count;
      line_.call_next();
    }
    settle();
  }
  void settle() {
    io_.restart();
    while (io_.poll() > 0) {
    }
  }

  FakeClock clock_;
  Mutex mutex_;
  prometheus::Gauge length_;
  WaitingLine line_{&mutex_, &clock_, /*most=*/3, &length_};
  int places_ = 0;
  std::vector<std::string> tried_;
  std::vector<std::string> ended_;
  boost::asio::io_context io_{1};  // those that wait still are gone before their line is
};

TEST_F(WaitingLineTest, WhoFindsRoomDoesNotWait) {
  places_ = 1;
  arrive("a");
  EXPECT_THAT(ended_, ElementsAre("a"));
  EXPECT_EQ(length_.Value(), 0);
}

TEST_F(WaitingLineTest, HigherPriorityGoesFirstThenWhoCameFirst) {
  for (const auto& [name, priority] : {std::pair("a", 0), std::pair("b", 5), std::pair("c", 0)}) arrive(name, priority);
  EXPECT_EQ(length_.Value(), 3);
  free_places(3);
  EXPECT_THAT(ended_, ElementsAre("b", "a", "c")) << "each calls the next one";
  EXPECT_EQ(length_.Value(), 0);
}

TEST_F(WaitingLineTest, WhoComesLaterDoesNotPassThoseOfTheSamePriority) {
  arrive("a");
  places_ = 1;
  arrive("b");
  EXPECT_THAT(tried_, ElementsAre("a")) << "b has not tried";
  arrive("c", 1);
  EXPECT_THAT(ended_, ElementsAre("c"));
}

TEST_F(WaitingLineTest, WhoIsCalledInVainKeepsItsPlace) {
  arrive("a");
  arrive("b");
  free_places(0);
  EXPECT_THAT(tried_, ElementsAre("a", "a"));
  free_places(1);
  EXPECT_THAT(ended_, ElementsAre("a"));
}

TEST_F(WaitingLineTest, AFullLineRefuses) {
  for (const char* name : {"a", "b", "c", "d"}) arrive(name);
  EXPECT_THAT(ended_, ElementsAre("d: exhausted: all workers are busy and 3 requests wait already"));
}

TEST_F(WaitingLineTest, WaitingEndsWithTheTime) {
  arrive("a");
  clock_.advance(std::chrono::seconds(9));
  settle();
  EXPECT_THAT(ended_, IsEmpty());
  clock_.advance(std::chrono::seconds(1));
  settle();
  EXPECT_THAT(ended_,
              ElementsAre("a: exhausted: all workers are busy; the request waited in vain for one that is not"));
  EXPECT_EQ(length_.Value(), 0);
}

TEST_F(WaitingLineTest, WhoseClientLeavesIsOutOfTheLine) {
  boost::asio::cancellation_signal leave;
  arrive("a", 0, &leave);
  arrive("b");
  EXPECT_EQ(length_.Value(), 2);
  leave.emit(boost::asio::cancellation_type::terminal);
  settle();
  EXPECT_EQ(length_.Value(), 1);
  free_places(1);
  EXPECT_EQ(ended_.back(), "b");
  EXPECT_EQ(places_, 0);
}

}  // namespace
}  // namespace dynamo::router
