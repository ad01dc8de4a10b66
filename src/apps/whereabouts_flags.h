// The flags by which workers and mockers are told where to listen and what to announce.
#pragma once

#include <string>

#include "apps/options.h"
#include "apps/planes.h"
#include "base/status.h"
#include "worker/whereabouts.h"

namespace dynamo::apps {

struct WhereaboutsFlags {
  std::string host;           // empty: by the rule of worker/whereabouts.h
  std::string announce_host;  // empty: by the rule
  std::string system_host;    // empty: where requests are listened for
  int system_port = -1;
};

OptionSet options_of(WhereaboutsFlags* flags);

// Logs what a person should know about the choice. Errors: as worker::choose_whereabouts.
Result<worker::Whereabouts> whereabouts_of(const WhereaboutsFlags& flags, const Planes& planes);

}  // namespace dynamo::apps
