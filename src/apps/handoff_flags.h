// What worker and mocker share of taking part in hand-offs.  Threads: pure functions.
#pragma once

#include <string_view>

#include "discovery/instance.h"
#include "worker/handoff_host.h"
#include "worker/worker_node.h"

namespace dynamo::apps {

// "aggregated", "prefill" or "decode".
discovery::Role role_of(std::string_view mode);
// Lets a node answer for `handoffs`, which outlives it.
void serve_handoffs(worker::HandoffHost* handoffs, worker::HostedEngine* hosted);

}  // namespace dynamo::apps
