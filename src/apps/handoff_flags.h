// What worker and mocker share of taking part in hand-offs.  Threads: any.
#pragma once

#include <string>

#include "apps/options.h"
#include "discovery/instance.h"
#include "transfer/kv_transport.h"
#include "worker/handoff_host.h"
#include "worker/worker_node.h"

namespace dynamo::apps {

OptionValue role_value(discovery::Role* role);
// The file if --nixl-lib names one; else it is looked for below $NIXL_PREFIX, $VIRTUAL_ENV, $CONDA_PREFIX and the Pythons in $PATH.
transfer::NixlLibrary nixl_library(const std::string& file);
// Whether this machine has an InfiniBand or RoCE device with a port that is up.
bool has_rdma();
// Lets a node answer for `handoffs`, which outlives it.
void serve_handoffs(worker::HandoffHost* handoffs, worker::HostedEngine* hosted);

}  // namespace dynamo::apps
