// Keeps the routers of a namespace in step: tells the others what this one has in flight, and counts what they tell.
// Message: wire::RouterNotice.  Threads: the telling half any; on_notice() under the lock of the table.
// Private to the module.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <tuple>

#include "router/candidates.h"
#include "router/worker_table.h"
#include "wire/bus_messages.h"

namespace dynamo::router {

// What a request is in flight for at a worker. A prompt that is computed elsewhere makes two of one request.
struct FlightKey {
  std::string request;  // its id
  Pool pool = Pool::kDecode;
  auto operator<=>(const FlightKey&) const = default;
};

class ReplicaSync {
 public:
  // `id` is this router's among all. `tell` null: nobody is told.
  ReplicaSync(uint64_t id, std::function<void(const std::string& notice)> tell) : id_(id), tell_(std::move(tell)) {}

  void tell_started(const FlightKey& key, uint64_t instance, uint64_t prefill_tokens, uint64_t blocks) const;
  void tell_prefill_done(const FlightKey& key, uint64_t instance) const;
  void tell_ended(const FlightKey& key, uint64_t instance) const;

  // Counts what another router has told at its worker, until that router tells its end or 10 minutes are over. Of
  // workers that are not in the table it counts nothing: they are of another model, most likely.
  void on_notice(const wire::RouterNotice& notice, WorkerTable* workers, Time now);

 private:
  struct Foreign {
    ActiveLoad::Id id = 0;
    uint64_t instance = 0;
    Time since;
  };
  void tell(wire::RouterNotice::Kind kind, const FlightKey& key, uint64_t instance, uint64_t prefill_tokens,
            uint64_t blocks) const;

  const uint64_t id_;
  const std::function<void(const std::string& notice)> tell_;
  std::map<std::pair<uint64_t, FlightKey>, Foreign> foreign_;  // by router and key
};

}  // namespace dynamo::router
