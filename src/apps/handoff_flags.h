// The options by which workers and mockers are told their role, and how their KV blocks travel.  Threads: any.
#pragma once

#include <optional>
#include <string>

#include "apps/options.h"
#include "apps/planes.h"
#include "discovery/instance.h"
#include "handoff/both_sides.h"
#include "worker/whereabouts.h"

namespace dynamo::apps {

struct HandoffFlags {
  discovery::Role role = discovery::Role::kAggregated;
  std::string backend;  // empty: not said, which is auto
  std::string nixl_library;
};

OptionSet options_of(HandoffFlags* flags);

// How a worker takes part in hand-offs; none: its role is to do both itself. NIXL, unless a flag names the file, is
// looked for below $NIXL_PREFIX, $VIRTUAL_ENV, $CONDA_PREFIX and the Pythons in $PATH.
std::optional<handoff::PartOptions> part_of(const HandoffFlags& flags, const PlaneFlags& planes,
                                            const worker::Whereabouts& whereabouts);

}  // namespace dynamo::apps
