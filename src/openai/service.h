// OpenAI's HTTP API over a directory of models.
//
// Source: OpenAI API reference (chat completions, completions, models) as the official Python client speaks it;
// extensions are named as vLLM and SGLang name them.  HTTP reference: docs/reference/http_api.md.  Threads: handlers
// run on I/O threads; long bodies are parsed, rendered and tokenized on a pool of the service's own.
#pragma once

#include <chrono>
#include <functional>
#include <memory>

#include "base/metrics.h"
#include "base/task.h"
#include "http/server.h"
#include "json/types.h"
#include "openai/preparation.h"
#include "openai/served_model.h"

namespace dynamo::openai {

struct ServiceOptions {
  std::chrono::seconds request_timeout{600};  // a request's whole time.  --request-timeout
  uint32_t max_choices = 128;                 // n at most
  uint32_t max_body_depth = 64;               // nesting of the JSON body
  uint32_t preparation_threads = 2;           // for bodies above `inline_body_bytes`
  size_t inline_body_bytes = 32U << 10;       // up to here the I/O thread prepares a request itself
};

// The process's own state, for /health, /live and /ready.
struct ServiceState {
  std::function<bool()> is_ready;        // serving and not stopping
  std::function<json::object()> health;  // what /health shows besides its status
};

class Service {
 public:
  Service(ServiceOptions options, const ModelDirectory* models, ServiceState state, Metrics* metrics);
  ~Service();
  // Adds /v1/chat/completions, /v1/completions, /v1/models, /v1/models/{id}, /health, /live, /ready, /metrics. The
  // service must outlive the server.
  void add_routes(http::Server* server);

  // The handlers themselves; each writes exactly one response.
  Task<void> complete(Endpoint endpoint, const http::Request* request, http::ResponseWriter* out);
  http::Response list_models() const;
  http::Response show_model(const std::string& id) const;
  http::Response show_health() const;
  http::Response show_ready() const;
  http::Response show_metrics() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// The body of every error: {"error": {"message", "type", "param", "code"}}. For http::ServerOptions::error_body.
http::Response error_response(int status, const std::string& message);

}  // namespace dynamo::openai
