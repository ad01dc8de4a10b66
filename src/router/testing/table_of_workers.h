// A worker table that a test fills worker by worker, without generators or events.
#pragma once

#include <memory>
#include <string>
#include <utility>

#include "base/check.h"
#include "router/worker_table.h"

namespace dynamo::router {

class TableOfWorkers {
 public:
  // Slots are given in turn. `address` is "host-INSTANCE".
  Worker& add(uint64_t instance, std::string name, Serves serves = Serves::kBoth, uint32_t max_sequences = 0) {
    RoutedWorker what;
    what.instance = instance;
    what.name = std::move(name);
    what.serves = serves;
    what.address = "host-" + std::to_string(instance);
    what.is_reachable = [this, instance] { return instance != unreachable; };
    what.total_blocks = 100;
    what.max_sequences = max_sequences;
    const auto slot = index.add_worker();
    CHECK_OK(slot);
    const auto worker = std::make_shared<Worker>(std::move(what), *slot, &metrics, "m");
    CHECK(table.add(worker).is_ok());
    return *worker;
  }
  // As add(), but its first snapshot has not come.
  Worker& add_unknown(uint64_t instance, std::string name) {
    Worker& worker = add(instance, std::move(name));
    worker.feed.emplace(&index, worker.slot, &worker.metrics);
    return worker;
  }

  Metrics metrics;
  PrefixIndex index{PrefixIndex::Options{.max_bytes = size_t{1} << 20}};
  WorkerTable table;
  uint64_t unreachable = 0;  // this instance is
};

}  // namespace dynamo::router
