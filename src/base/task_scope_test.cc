#include "base/task_scope.h"

#include <gtest/gtest.h>

#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <array>
#include <atomic>
#include <future>
#include <thread>

#include "base/on_pool.h"
#include "base/testing/patience.h"

namespace dynamo {
namespace {

namespace asio = boost::asio;

// Counts its own end, however that comes.
struct Counted {
  explicit Counted(std::atomic<int>* count) : ended(count) {}
  ~Counted() { ++*ended; }
  std::atomic<int>* ended;
};

Task<void> note(std::atomic<int>* ended) {
  const Counted counted(ended);
  co_return;
}

Task<void> wait_for_ever(std::promise<void>* begun, std::atomic<int>* ended) {
  const Counted counted(ended);
  asio::steady_timer timer(co_await asio::this_coro::executor, Time::max());
  begun->set_value();
  co_await timer.async_wait(asio::use_awaitable);
  ADD_FAILURE() << "it went on after it was cancelled";
}

Task<int> compute(std::promise<void>* begun, std::shared_future<void> may_end) {
  begun->set_value();
  may_end.wait();
  co_return 7;
}

Task<void> wait_for_pool(asio::thread_pool* pool, std::promise<void>* begun, std::shared_future<void> may_end,
                         std::atomic<int>* ended) {
  const Counted counted(ended);
  auto computing = compute(begun, std::move(may_end));
  co_await on_pool(pool, std::move(computing));
}

TEST(TaskScope, RunsWhatIsSpawned) {
  IoThreads io(2);
  std::atomic<int> ended = 0;
  TaskScope scope(&io);
  for (int i = 0; i < 20; ++i) scope.spawn([&] { return note(&ended); });
  EXPECT_TRUE(wait_until([&] { return ended == 20; }));
  scope.stop();
}

TEST(TaskScope, WhatWaitsIsCancelledAndOverWhenStopReturns) {
  IoThreads io(2);
  std::atomic<int> ended = 0;
  std::array<std::promise<void>, 4> begun;
  TaskScope scope(&io);
  for (auto& one : begun) scope.spawn([&ended, &one] { return wait_for_ever(&one, &ended); });
  for (auto& one : begun) ASSERT_EQ(one.get_future().wait_for(kPatience), std::future_status::ready);
  EXPECT_EQ(ended, 0);
  scope.stop();
  EXPECT_EQ(ended, 4);
}

TEST(TaskScope, WorkOnAPoolIsWaitedFor) {
  IoThreads io(1);
  asio::thread_pool pool(1);
  std::atomic<int> ended = 0;
  std::promise<void> begun;
  std::promise<void> may_end;
  TaskScope scope(&io);
  scope.spawn([&] { return wait_for_pool(&pool, &begun, may_end.get_future().share(), &ended); });
  begun.get_future().wait();
  std::thread stopping([&] { scope.stop(); });
  EXPECT_EQ(ended, 0);
  may_end.set_value();
  stopping.join();
  EXPECT_EQ(ended, 1);
}

TEST(TaskScope, WhatIsSpawnedLaterDoesNotRun) {
  std::atomic<int> ended = 0;
  std::unique_ptr<TaskScope> scope;
  {
    IoThreads io(1);
    scope = std::make_unique<TaskScope>(&io);
    scope->stop();
    scope->spawn([&] { return note(&ended); });
    scope->stop();
  }
  scope->spawn([&] { return note(&ended); });  // the threads are gone too
  EXPECT_EQ(ended, 0);
}

// A task may spawn others, and a caller may hold a lock that the task takes.
TEST(TaskScope, TasksThatSpawnEndWithIt) {
  IoThreads io(2);
  std::atomic<int> ended = 0;
  Mutex mutex;
  TaskScope scope(&io);
  std::function<Task<void>()> again = [&]() -> Task<void> {
    {
      MutexLock lock(mutex);
      scope.spawn(again);
    }
    return note(&ended);
  };
  {
    MutexLock lock(mutex);
    scope.spawn(again);
  }
  EXPECT_TRUE(wait_until([&] { return ended > 100; }));
  scope.stop();
  scope.stop();  // nothing is left, and nothing new begins
}

}  // namespace
}  // namespace dynamo
