// What worker and mocker tell a node of theirs.
#pragma once

#include "apps/planes.h"
#include "base/metrics.h"
#include "worker/whereabouts.h"
#include "worker/worker_node.h"

namespace dynamo::apps {

// `metrics`, which outlive the node, show its labels with the name that it has.
worker::NodeOptions node_options(const PlaneFlags& planes, const worker::Whereabouts& whereabouts, discovery::Role role,
                                 Metrics* metrics);

}  // namespace dynamo::apps
