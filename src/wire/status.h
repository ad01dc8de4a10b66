// A failure as bytes: what a kError frame carries.  Threads: pure functions.
#pragma once

#include <string>
#include <string_view>

#include "base/status.h"

namespace dynamo::wire {

// A text is cut to this on its way: it may repeat what a peer said, and must fit into a frame and a line of a log.
inline constexpr size_t kMostFailureBytes = 16U << 10;

// Requires: a failure.
std::string to_bytes(const Status& failure);
// Returns: the failure, or kCorrupt if the bytes are none. A code that this version does not know becomes kInternal.
Status failure_from_bytes(std::string_view bytes);

}  // namespace dynamo::wire
