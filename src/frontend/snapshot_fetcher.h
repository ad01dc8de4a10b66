// Fetches the blocks that a worker holds when its router asks for them.
// Threads: any; fetching on I/O threads.  Private to the module.
#pragma once

#include <functional>
#include <memory>

#include "base/task_scope.h"
#include "frontend/model_catalog.h"

namespace dynamo::frontend {

// For RouterHooks::fetch_snapshot: returns at once; the worker's router gets what it holds, or why not. The function
// may outlive the catalog and be called when the scope is stopped, and does nothing then. `catalog` outlives the tasks
// of `scope`.
std::function<void(uint64_t instance)> fetch_snapshots(const ModelCatalog* catalog, std::shared_ptr<TaskScope> scope);

}  // namespace dynamo::frontend
