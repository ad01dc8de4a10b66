#include "kernels/cpu/thread_pool.h"

#include <immintrin.h>

#include "base/check.h"

namespace dynamo::kernels {
namespace {

constexpr int kSpins = 2000;  // about 50 microseconds of `pause`

// Waits until `value` is no longer `old`: spinning first, then asleep.
uint32_t wait_for_change(const std::atomic<uint32_t>& value, uint32_t old) {
  for (int i = 0; i < kSpins; ++i) {
    const uint32_t now = value.load(std::memory_order_acquire);
    if (now != old) return now;
    _mm_pause();
  }
  value.wait(old, std::memory_order_acquire);
  return value.load(std::memory_order_acquire);
}

}  // namespace

ThreadPool::ThreadPool(uint32_t threads) {
  CHECK(threads > 0);
  for (uint32_t i = 1; i < threads; ++i) workers_.emplace_back([this, i] { work(i); });
}

ThreadPool::~ThreadPool() {
  is_ending_.store(true, std::memory_order_release);
  round_.fetch_add(1, std::memory_order_acq_rel);
  round_.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

void ThreadPool::run(const std::function<void(uint32_t)>& part) {
  if (workers_.empty()) return part(0);
  part_ = &part;
  unfinished_.store(static_cast<uint32_t>(workers_.size()), std::memory_order_relaxed);
  round_.fetch_add(1, std::memory_order_acq_rel);
  round_.notify_all();
  part(0);
  for (uint32_t left = unfinished_.load(std::memory_order_acquire); left != 0;)
    left = wait_for_change(unfinished_, left);
}

void ThreadPool::work(uint32_t index) {
  for (uint32_t seen = 0;;) {
    seen = wait_for_change(round_, seen);
    if (is_ending_.load(std::memory_order_acquire)) return;
    (*part_)(index);
    if (unfinished_.fetch_sub(1, std::memory_order_acq_rel) == 1) unfinished_.notify_one();
  }
}

}  // namespace dynamo::kernels
