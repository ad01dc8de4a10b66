#include "base/on_pool.h"

#include <gtest/gtest.h>

#include <boost/asio/post.hpp>
#include <boost/asio/use_future.hpp>

#include <future>

#include "base/io_threads.h"

namespace dynamo {
namespace {

namespace asio = boost::asio;

Task<int> compute(std::promise<void>* begun, std::shared_future<void> may_end) {
  begun->set_value();
  may_end.wait();
  co_return 7;
}

Task<void> nothing() {
  co_return;
}

// Sets `result` to what the pool computed, and then waits for something else.
Task<void> wait_for(asio::thread_pool* pool, std::promise<void>* begun, std::shared_future<void> may_end, int* result) {
  auto work = compute(begun, std::move(may_end));
  *result = co_await on_pool(pool, std::move(work));
  co_await nothing();
  *result = -1;
}

TEST(OnPool, GivesTheResult) {
  IoThreads io(1);
  asio::thread_pool pool(1);
  std::promise<void> begun;
  std::promise<void> may_end;
  may_end.set_value();
  auto work = compute(&begun, may_end.get_future().share());
  EXPECT_EQ(asio::co_spawn(io.at(0), on_pool(&pool, std::move(work)), asio::use_future).get(), 7);
}

// Many times: what is wrong here shows only when the threads meet.
TEST(OnPool, ACancelledCallerWaitsForTheWorkAndNoFurther) {
  IoThreads io(1);
  asio::thread_pool pool(1);
  for (int round = 0; round < 200; ++round) {
    std::promise<void> begun;
    std::promise<void> may_end;
    std::promise<void> ended;
    asio::cancellation_signal cancel;
    int result = 0;
    bool was_thrown = false;
    asio::post(io.at(0), [&] {
      asio::co_spawn(io.at(0), wait_for(&pool, &begun, may_end.get_future().share(), &result),
                     asio::bind_cancellation_slot(cancel.slot(), [&](const std::exception_ptr& failure) {
                       was_thrown = failure != nullptr;
                       ended.set_value();
                     }));
    });
    begun.get_future().wait();
    asio::post(io.at(0), [&] { cancel.emit(asio::cancellation_type::terminal); });
    may_end.set_value();  // perhaps before it is cancelled, perhaps after
    ended.get_future().wait();
    EXPECT_TRUE(was_thrown);
    EXPECT_EQ(result, 7);
  }
}

}  // namespace
}  // namespace dynamo
