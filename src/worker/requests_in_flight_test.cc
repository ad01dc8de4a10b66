#include "worker/requests_in_flight.h"

#include <gtest/gtest.h>

#include <future>
#include <optional>

#include "base/testing/patience.h"

namespace dynamo::worker {
namespace {

TEST(RequestsInFlight, TheLastThatEndsEndsTheWait) {
  RequestsInFlight requests;
  std::optional<RequestsInFlight::Stay> one(std::in_place, &requests);
  std::optional<RequestsInFlight::Stay> other(std::in_place, &requests);
  auto waiting = std::async(std::launch::async, [&] { return requests.wait_until_quiet(Duration(0), soon()); });
  one.reset();
  EXPECT_EQ(waiting.wait_for(std::chrono::milliseconds(50)), std::future_status::timeout);
  other.reset();
  EXPECT_TRUE(waiting.get().is_ok());
}

TEST(RequestsInFlight, ThoseThatAreNotOverInTimeAreCounted) {
  RequestsInFlight requests;
  const RequestsInFlight::Stay one(&requests);
  const RequestsInFlight::Stay other(&requests);
  const Status status = requests.wait_until_quiet(Duration(0), Clock::steady().now());
  EXPECT_EQ(status.code(), Code::kDeadline);
  EXPECT_EQ(status.text(), "2 requests are not over");
}

TEST(RequestsInFlight, OneThatComesMeanwhileIsWaitedForToo) {
  RequestsInFlight requests;
  constexpr Duration kQuiet = std::chrono::milliseconds(300);
  auto waiting = std::async(std::launch::async, [&] { return requests.wait_until_quiet(kQuiet, soon()); });
  const Time came = Clock::steady().now();
  {
    const RequestsInFlight::Stay late(&requests);
  }
  EXPECT_TRUE(waiting.get().is_ok());
  EXPECT_GE(Clock::steady().now() - came, kQuiet);
}

TEST(RequestsInFlight, WhoStopsEndsTheWait) {
  RequestsInFlight requests;
  const RequestsInFlight::Stay one(&requests);
  auto waiting = std::async(std::launch::async, [&] { return requests.wait_until_quiet(Duration(0), soon()); });
  requests.stop_waiting();
  EXPECT_EQ(waiting.get().code(), Code::kCancelled);
}

}  // namespace
}  // namespace dynamo::worker
