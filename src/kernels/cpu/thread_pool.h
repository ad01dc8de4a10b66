// Threads that split one operation at a time with their caller, and park when there is none.
// Between operations of a step workers spin for some tens of microseconds, which is how soon the next one comes; then they sleep,
// so that an idle server uses no CPU. Threads: run() from one thread at a time.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <thread>
#include <vector>

namespace dynamo::kernels {

class ThreadPool {
 public:
  // `threads` in all, the caller's included; > 0.
  explicit ThreadPool(uint32_t threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  uint32_t threads() const { return static_cast<uint32_t>(workers_.size()) + 1; }
  // Calls part(0) ... part(threads() - 1), each on a thread of its own, and returns when all have.
  void run(const std::function<void(uint32_t)>& part);

 private:
  void work(uint32_t index);

  std::vector<std::thread> workers_;
  const std::function<void(uint32_t)>* part_ = nullptr;  // published by round_
  std::atomic<uint32_t> round_{0};
  std::atomic<uint32_t> unfinished_{0};
  std::atomic<bool> is_ending_{false};
};

}  // namespace dynamo::kernels
