// How fast prompts travel from this worker, lately: what routers reckon with (docs/reference/routing.md).
// Threads: any; of two see() at once one may be lost.  Private to the module.
#pragma once

#include <algorithm>
#include <atomic>

namespace dynamo::handoff {

class TransferRate {
 public:
  // The rate of one hand-off, in tokens/s. One that had to connect first, or was small, says little of how fast a long prompt travels:
  // a slower one counts a fifth, a faster one at once.
  void see(double rate) { value_ = std::max(rate, 0.8 * value_ + 0.2 * rate); }
  double value() const { return value_; }  // 0: nothing was seen

 private:
  std::atomic<double> value_{0};
};

}  // namespace dynamo::handoff
