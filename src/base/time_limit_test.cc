#include "base/time_limit.h"

#include <gtest/gtest.h>

#include <optional>

#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>

namespace dynamo {
namespace {

namespace asio = boost::asio;

TEST(TimeLimit, EndsWhatIsUnderWayAtItsTime) {
  asio::io_context io;
  const Time until = Clock::steady().now() + std::chrono::milliseconds(5);
  Time ended{};
  const TimeLimit limit(io.get_executor(), until, [&] { ended = Clock::steady().now(); });
  EXPECT_FALSE(limit.has_passed());
  io.run();
  EXPECT_TRUE(limit.has_passed());
  EXPECT_GE(ended, until);
}

TEST(TimeLimit, DoesNothingOnceItIsGoneEvenIfItWasDueBefore) {
  asio::io_context io;
  const Time due = Clock::steady().now();
  asio::steady_timer timer(io, due);
  bool has_timer_ended = false;
  timer.async_wait([&](const boost::system::error_code& cancelled) { has_timer_ended = !cancelled; });
  bool has_limit_ended = false;
  std::optional<TimeLimit> limit;
  limit.emplace(io.get_executor(), due, [&] { has_limit_ended = true; });
  // Runs when both are due and neither handler has run.
  asio::post(io, [&] {
    timer.cancel();
    limit.reset();
  });
  io.run();
  EXPECT_TRUE(has_timer_ended);  // what this is about: cancelled in vain
  EXPECT_FALSE(has_limit_ended);
}

}  // namespace
}  // namespace dynamo
