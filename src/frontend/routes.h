// What a frontend shows besides OpenAI's API: /router/explain and /clear_kv_blocks (docs/reference/http_api.md).
// Threads: handlers run on I/O threads.
#pragma once

#include "frontend/operations.h"
#include "http/server.h"

namespace dynamo::frontend {

// `frontend` outlives the server.
void add_routes(http::Server* server, Operations* frontend);

}  // namespace dynamo::frontend
