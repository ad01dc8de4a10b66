#include "base/clock.h"

namespace dynamo {

const Clock& Clock::steady() {
  class SteadyClock final : public Clock {
   public:
    Time now() const override { return std::chrono::steady_clock::now(); }
  };
  static const SteadyClock clock;
  return clock;
}

}  // namespace dynamo
