// A worker in another process without the process: connected when told, answering what a test has put there.
// Threads: any.
#pragma once

#include <atomic>
#include <deque>
#include <string>
#include <utility>
#include <vector>

#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "base/mutex.h"
#include "rpc/worker_client.h"

namespace dynamo::rpc {

class FakeWorkerClient final : public WorkerClient {
 public:
  // Answers of fetch_model() and fetch_blocks(), one for each call; without one the call waits until it is cancelled.
  void give_model(Result<std::string> bytes) {
    MutexLock lock(mutex_);
    models_.push_back(std::move(bytes));
  }
  void give_blocks(Result<wire::BlockSnapshot> blocks) {
    MutexLock lock(mutex_);
    snapshots_.push_back(std::move(blocks));
  }
  // Until when each fetch_model() was to answer, as time behind `start`.
  std::vector<Duration> limits(Time start) const {
    MutexLock lock(mutex_);
    std::vector<Duration> limits;
    for (const Time until : asked_until_) limits.push_back(until - start);
    return limits;
  }
  size_t models_asked() const {
    MutexLock lock(mutex_);
    return asked_until_.size();
  }

  std::atomic<size_t> blocks_asked{0};
  std::atomic<bool> connected{true};
  std::atomic<bool> is_retired{false};
  std::atomic<bool> is_stopped{false};

  void start() override {}
  void retire() override { is_retired = true; }
  void stop() override { is_stopped = true; }
  bool is_connected() const override { return connected; }
  Task<Result<std::unique_ptr<Generation>>> generate(GenerateRequest) override {
    co_return unavailable("a worker that answers nothing");
  }
  Task<Result<std::string>> fetch_model(std::string, Time until) override {
    {
      MutexLock lock(mutex_);
      asked_until_.push_back(until);
    }
    co_return co_await next(&models_);
  }
  Task<Result<wire::BlockSnapshot>> fetch_blocks(Time) override {
    ++blocks_asked;
    co_return co_await next(&snapshots_);
  }
  Task<Status> clear_blocks(Time) override { co_return Status(); }
  Task<Result<std::string>> set_role(wire::SetRole, Time) override { co_return unavailable("a worker without roles"); }
  Task<Result<PrefillReport>> prefill(PrefillOrder, Time, Asked*) override {
    co_return unavailable("a worker that computes nothing");
  }

 private:
  template <class T>
  Task<Result<T>> next(std::deque<Result<T>>* answers) {
    {
      MutexLock lock(mutex_);
      if (!answers->empty()) {
        Result<T> answer = std::move(answers->front());
        answers->pop_front();
        co_return answer;
      }
    }
    boost::asio::steady_timer timer(co_await boost::asio::this_coro::executor, Time::max());
    co_await timer.async_wait(boost::asio::use_awaitable);
    co_return unavailable("cancelled");
  }

  mutable Mutex mutex_;
  std::deque<Result<std::string>> models_ GUARDED_BY(mutex_);
  std::deque<Result<wire::BlockSnapshot>> snapshots_ GUARDED_BY(mutex_);
  std::vector<Time> asked_until_ GUARDED_BY(mutex_);
};

}  // namespace dynamo::rpc
