// One attempt of a request at one worker: counted as in flight there, and at the worker that computes its prompt, until
// it is dropped.  Private to the module.  Threads: that of the Generation that has it.
#pragma once

#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "router/replica_sync.h"
#include "router/worker.h"

namespace dynamo::router {

class Router;

// A request in flight at one worker.
struct Flight {
  FlightKey key;
  std::shared_ptr<Worker> worker;
  ActiveLoad::Id id = 0;
  uint64_t prefill_tokens = 0;  // to compute there
};

class Booking {
 public:
  // `partial_tokens`: of the prompt, behind its last full block. `prefill`: none if the prompt is computed where it is
  // decoded; `prefill_at` is empty then.
  Booking(std::shared_ptr<Router> router, Flight decode, std::optional<Flight> prefill,
          std::vector<PrefillPlace> prefill_at, uint64_t partial_tokens);
  ~Booking();
  Booking(const Booking&) = delete;
  Booking& operator=(const Booking&) = delete;

  const Worker& worker() const { return *decode_.worker; }
  const Flight& decode() const { return decode_; }
  const Flight* prefill() const { return prefill_ ? &*prefill_ : nullptr; }
  const std::vector<PrefillPlace>& prefill_at() const { return prefill_at_; }
  // So many tokens of the answer have come.
  void drawn(uint64_t tokens);

 private:
  void end_prefill();

  std::shared_ptr<Router> router_;
  Flight decode_;
  std::optional<Flight> prefill_;  // until the first token
  std::vector<PrefillPlace> prefill_at_;
  uint64_t partial_tokens_;  // in the last, not yet full block
  bool has_drawn_ = false;
};

}  // namespace dynamo::router
