#include "openai/service.h"

#include <fmt/format.h>

#include <algorithm>
#include <random>

#include <boost/asio/thread_pool.hpp>

#include "base/on_pool.h"
#include "base/random.h"
#include "openai/exchange.h"

namespace dynamo::openai {
namespace {

// A request on its way to being prepared. The pool keeps it alive if the connection goes away meanwhile.
struct Preparation {
  Endpoint endpoint;
  std::string body;
  RequestLimits limits;
  const ModelDirectory* models;
  PreparedRequest prepared;
  std::optional<ApiError> wrong;

  void run(std::string_view text) {
    wrong = prepare(endpoint, text, limits, *models, std::chrono::system_clock::now(), &prepared);
  }
};

Task<void> run_on_pool(std::shared_ptr<Preparation> job) {
  job->run(job->body);
  co_return;
}

std::string make_id() {
  thread_local std::mt19937_64 random{random_number()};
  return fmt::format("{:016x}{:016x}", random(), random());
}

// The client's own name for the request, if it can stand in a header, a log line and an id.
std::string request_id(const http::Request& request) {
  constexpr size_t kMost = 128;
  const auto id = request.header("x-request-id");
  const auto is_sane = [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' || c == '_' ||
           c == '.' || c == ':';
  };
  if (!id || id->empty() || id->size() > kMost || !std::all_of(id->begin(), id->end(), is_sane)) return make_id();
  return std::string(*id);
}

json::object describe(const ServedModel& model) {
  return {{"id", model.card.name},
          {"object", "model"},
          {"created", model.created},
          {"owned_by", "dynamo"},
          {"max_model_len", model.card.context_length}};
}

http::Response json_response(int status, const json::object& body) {
  http::Response response;
  response.status = status;
  response.body = json::serialize(body);
  return response;
}

}  // namespace

struct Service::State {
  State(ServiceOptions service_options, const ModelDirectory* directory, ServiceState process, Metrics* process_metrics)
      : options(service_options),
        models(directory),
        state(std::move(process)),
        metrics(process_metrics),
        frontend_metrics(process_metrics),
        pool(service_options.preparation_threads) {
    limits.max_choices = options.max_choices;
    limits.max_depth = options.max_body_depth;
  }

  ServiceOptions options;
  RequestLimits limits;
  const ModelDirectory* models;
  ServiceState state;
  Metrics* metrics;
  FrontendMetrics frontend_metrics;
  boost::asio::thread_pool pool;
};

Service::Service(ServiceOptions options, const ModelDirectory* models, ServiceState state, Metrics* metrics)
    : state_(std::make_unique<State>(options, models, std::move(state), metrics)) {}

Service::~Service() {
  state_->pool.join();
}

Task<void> Service::complete(Endpoint endpoint, const http::Request* request, http::ResponseWriter* out) {
  RequestRecord record(&state_->frontend_metrics, endpoint);
  const Time deadline = Clock::steady().now() + state_->options.request_timeout;
  std::string id = request_id(*request);
  auto job = std::make_shared<Preparation>();
  job->endpoint = endpoint;
  job->limits = state_->limits;
  job->models = state_->models;
  if (request->body.size() <= state_->options.inline_body_bytes) {
    job->run(request->body);
  } else {
    job->body = request->body;
    auto running = run_on_pool(job);
    co_await on_pool(&state_->pool, std::move(running));
  }
  record.set_stream(job->prepared.options.is_stream);
  if (job->wrong) {
    record.finish(http_status(job->wrong->code));
    http::Response response = to_response(*job->wrong);
    response.headers.emplace_back("x-request-id", id);
    static_cast<void>(co_await out->send(std::move(response)));  // a client that left has nobody to tell
    co_return;
  }
  record.begin(job->prepared);
  Exchange exchange(std::move(job->prepared), std::move(id), deadline, &record);
  co_await exchange.run(out);
}

http::Response Service::list_models() const {
  json::array data;
  for (const auto& model : state_->models->list()) data.push_back(describe(*model));
  return json_response(200, {{"object", "list"}, {"data", std::move(data)}});
}

http::Response Service::show_model(const std::string& id) const {
  const auto model = state_->models->find(id);
  return model ? json_response(200, describe(*model)) : to_response(unknown_model(id, *state_->models));
}

http::Response Service::show_health() const {
  const bool is_ready = state_->state.is_ready();
  json::object body = {{"status", is_ready ? "healthy" : "unhealthy"}};
  for (auto& member : state_->state.health()) body.insert_or_assign(member.key(), std::move(member.value()));
  return json_response(is_ready ? 200 : 503, body);
}

http::Response Service::show_ready() const {
  const bool is_ready = state_->state.is_ready();
  return json_response(is_ready ? 200 : 503, {{"status", is_ready ? "ready" : "not ready"}});
}

http::Response Service::show_metrics() const {
  http::Response response;
  response.content_type = "text/plain; version=0.0.4; charset=utf-8";
  response.body = state_->metrics->expose();
  return response;
}

}  // namespace dynamo::openai
