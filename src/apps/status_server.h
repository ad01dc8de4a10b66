// The small HTTP side of a process that is no frontend: /live, /ready and /metrics.
#pragma once

#include <memory>
#include <string>

#include "base/io_threads.h"
#include "base/metrics.h"
#include "base/status.h"
#include "http/server.h"

namespace dynamo::apps {

// Null when `port` is negative. `metrics` and `io` outlive it. Errors: as http::Server::listen.
Result<std::unique_ptr<http::Server>> start_status_server(const std::string& host, int port, Metrics* metrics,
                                                          IoThreads* io);

}  // namespace dynamo::apps
