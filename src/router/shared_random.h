// Random numbers for any thread; the same seed gives the same draws.  Source: Steele et al. 2014 (SplitMix64).
#pragma once

#include <atomic>
#include <cstdint>

#include "base/random.h"

namespace dynamo::router {

class SharedRandom {
 public:
  // 0: a seed from the system.
  explicit SharedRandom(uint64_t seed) : state_(seed != 0 ? seed : random_number()) {}
  uint64_t draw() {
    uint64_t bits = state_.fetch_add(kStep, std::memory_order_relaxed) + kStep;
    bits = (bits ^ bits >> 30) * 0xbf58476d1ce4e5b9;
    bits = (bits ^ bits >> 27) * 0x94d049bb133111eb;
    return bits ^ bits >> 31;
  }

 private:
  static constexpr uint64_t kStep = 0x9e3779b97f4a7c15;
  std::atomic<uint64_t> state_;
};

}  // namespace dynamo::router
