// Says by which flag another place to listen is chosen.
#pragma once

#include "base/status.h"

namespace dynamo::apps {

struct ListenFlags {
  const char* host;  // "--http-host"
  const char* port;  // "--http-port"
};

// A failure of listen_on (base/listen.h) with the flag that it is about in front.
inline Status with_flag(const Status& status, ListenFlags flags) {
  return status.with(status.code() == Code::kInvalid ? flags.host : flags.port);
}

}  // namespace dynamo::apps
