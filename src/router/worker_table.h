// The workers of a model, and what is in flight at each.
// Threads: one at a time, under its owner's lock.  Private to the module.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/status.h"
#include "router/active_load.h"
#include "router/worker.h"

namespace dynamo::router {

class WorkerTable {
 public:
  // Errors: kInvalid (the instance is there already).
  Status may_add(uint64_t instance) const;
  Status add(std::shared_ptr<Worker> worker);
  // Forgets what is in flight there too. Returns: null if it is not there.
  std::shared_ptr<Worker> remove(uint64_t instance);
  // Returns: null if it is not there.
  std::shared_ptr<Worker> find(uint64_t instance) const;
  // "worker-2" before "worker-10".
  const std::vector<std::shared_ptr<Worker>>& by_name() const { return by_name_; }

  size_t size() const { return by_name_.size(); }
  size_t prefill_workers() const { return prefill_workers_; }
  // Those that answer requests: all but kPrefill.
  size_t answering() const { return by_name_.size() - prefill_workers_; }
  // Slots of all workers so far are below this.
  size_t slots() const { return slots_; }

  // Whether it takes requests now. `busy_threshold`: share of its blocks in use above which it does not.
  WorkerState state_of(const Worker& worker, std::optional<double> busy_threshold, Time now) const;
  bool is_busy(const Worker& worker, std::optional<double> busy_threshold, Time now) const;
  WorkerView view(const Worker& worker, std::optional<double> busy_threshold, Time now) const;
  const WorkerLoad& load_of(const Worker& worker) const { return load_.of(worker.slot); }

  // A request is sent to a worker of the table; ActiveLoad's methods, shown in the metrics. `instance` is the worker's:
  // of one that has left nothing is in flight.
  ActiveLoad::Id start(Worker* worker, uint64_t prefill_tokens, std::span<const kv::BlockHash> chain);
  void end_prefill(ActiveLoad::Id id, uint64_t instance);
  void grow(ActiveLoad::Id id, uint64_t instance, uint64_t blocks);
  void end(ActiveLoad::Id id, uint64_t instance);
  // Sets `by_slot` to how many of the chain's leading blocks each worker works on.
  void match(std::span<const kv::BlockHash> chain, std::vector<uint32_t>* by_slot) const {
    load_.match(chain, by_slot);
  }
  size_t in_flight() const { return load_.in_flight(); }

 private:
  void show_load(const Worker& worker) const;
  void show_load(uint64_t instance) const;

  std::unordered_map<uint64_t, std::shared_ptr<Worker>> by_instance_;
  std::vector<std::shared_ptr<Worker>> by_name_;
  size_t prefill_workers_ = 0;
  size_t slots_ = 0;
  ActiveLoad load_;
};

}  // namespace dynamo::router
