// What /health shows of each announced worker.
// Threads: pure functions.  Private to the module.
#pragma once

#include <cstdint>
#include <map>

#include <boost/json/array.hpp>

#include "frontend/membership.h"
#include "router/router.h"

namespace dynamo::frontend {

// Members with what routers know of them, by instance; those without are loading their model. Members are told by key.
boost::json::array instances_view(const Members& members, const std::map<uint64_t, router::WorkerView>& views);

}  // namespace dynamo::frontend
