// What the routes beside OpenAI's API ask of a frontend (routes.h).
// Threads: any.  Private to the module.
#pragma once

#include <cstddef>
#include <string>

#include <boost/json/array.hpp>

#include "base/clock.h"
#include "base/task.h"

namespace dynamo::frontend {

class Operations {
 public:
  virtual ~Operations() = default;
  // Decisions of all models, newest first; of one request if `request_id` is not empty. They can be many, and are made
  // into JSON on the thread of the caller: not one that serves.
  virtual boost::json::array explain(size_t last, const std::string& request_id) const = 0;
  // Empties the cache of every worker. Returns: per worker, its name and what came of it.
  virtual Task<boost::json::array> clear_blocks(Time until) = 0;
};

}  // namespace dynamo::frontend
