// A failure as bytes: what a kError frame carries.  Threads: pure functions.
#pragma once

#include <string>
#include <string_view>

#include "base/status.h"

namespace dynamo::wire {

// Requires: a failure.
std::string to_bytes(const Status& failure);
// Returns: the failure, or kCorrupt if the bytes are none. A code that this version does not know becomes kInternal.
Status failure_from_bytes(std::string_view bytes);

}  // namespace dynamo::wire
