// The small HTTP side of a process that is no frontend: /live, /ready and /metrics.
#pragma once

#include <memory>
#include <string>

#include "apps/whereabouts_flags.h"
#include "base/io_threads.h"
#include "base/metrics.h"
#include "base/status.h"
#include "http/server.h"

namespace dynamo::apps {

// Makes `out` listen on `default_host` unless a flag says where; null when the port is negative. `metrics` and `io`
// outlive it.
// Errors: as http::Server::listen, with the flag.
Status start_status_server(const WhereaboutsFlags& flags, const std::string& default_host, Metrics* metrics,
                           IoThreads* io, std::unique_ptr<http::Server>* out);

}  // namespace dynamo::apps
