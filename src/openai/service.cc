#include "openai/service.h"

#include <fmt/format.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/json.hpp>

#include <algorithm>
#include <atomic>
#include <ctime>
#include <random>

#include "openai/chat_request.h"
#include "openai/choice_group.h"
#include "openai/completion_request.h"
#include "openai/error.h"
#include "openai/reply_writer.h"
#include "openai/request_meter.h"

namespace dynamo::openai {
namespace json = boost::json;
namespace {

constexpr size_t kLongBody = 32U << 10;  // bytes; longer ones are prepared on the pool

using Model = std::shared_ptr<const ServedModel>;

// A request ready to be generated: one GenerateRequest per choice, in order of index.
struct Job {
  Model model;
  RequestParams params;
  ReplyKind kind = ReplyKind::kChat;
  std::vector<GenerateRequest> requests;
  std::vector<std::string> echoes;  // per choice: text that stands before the answer
  bool has_logprobs = false;
  uint64_t prompt_tokens = 0;
};

ApiError unknown_model(std::string_view name) {
  return {404, fmt::format("the model '{}' is not served here", name), "model", "model_not_found"};
}

// Tokens that an answer to `prompt_tokens` may have. Errors: the context is too short for it.
std::optional<ApiError> fit_context(const Job& job, uint64_t prompt_tokens, uint32_t otherwise, uint32_t* max_tokens) {
  const uint64_t context = job.model->card.context_length;
  const uint64_t asked = job.params.max_tokens.value_or(0);
  if (prompt_tokens + std::max<uint64_t>(asked, 1) > context) {
    std::string message = fmt::format("this model's context is {} tokens; the prompt has {}", context, prompt_tokens);
    if (asked > 0) message += fmt::format(" and {} more are asked for", asked);
    return ApiError{400, std::move(message), job.kind == ReplyKind::kChat ? "messages" : "prompt",
                    "context_length_exceeded"};
  }
  const uint64_t rest = context - prompt_tokens;
  *max_tokens = static_cast<uint32_t>(asked > 0 ? asked : otherwise > 0 ? std::min<uint64_t>(otherwise, rest) : rest);
  return std::nullopt;
}

// Adds the choices of one prompt. `default_tokens` 0: all the context has.
std::optional<ApiError> add_prompt(Job* job, std::vector<TokenId> prompt, uint32_t default_tokens,
                                   std::optional<uint32_t> logprobs) {
  const ModelCard& card = job->model->card;
  if (prompt.empty())
    return ApiError{400, "the prompt is empty", job->kind == ReplyKind::kChat ? "messages" : "prompt", "invalid_value"};
  const auto wrong = std::ranges::find_if(prompt, [&](TokenId token) { return token >= card.vocab_size; });
  if (wrong != prompt.end()) {
    return ApiError{400, fmt::format("token id {} is not in the vocabulary of {}", *wrong, card.vocab_size), "prompt",
                    "invalid_value"};
  }
  GenerateRequest request = to_generate_request(job->params, card);
  if (auto error = fit_context(*job, prompt.size(), default_tokens, &request.stop.max_tokens)) return error;
  request.logprobs = logprobs;
  job->has_logprobs = logprobs.has_value();
  job->prompt_tokens += prompt.size();
  request.prompt = std::move(prompt);
  for (int64_t i = 0; i < job->params.choices; ++i) {
    GenerateRequest choice = request;
    if (choice.sampling.seed) *choice.sampling.seed += static_cast<uint64_t>(i);
    job->requests.push_back(std::move(choice));
  }
  return std::nullopt;
}

std::optional<ApiError> prepare_chat(json::object body, const ModelDirectory& models, uint32_t max_choices, Job* job) {
  ChatRequest chat;
  if (auto error = parse_chat_request(&body, max_choices, &chat)) return error;
  job->model = models.find(chat.params.model);
  if (!job->model) return unknown_model(chat.params.model);
  job->params = std::move(chat.params);
  if (!job->model->chat_template) {
    return ApiError{400, fmt::format("the model '{}' has no chat template; use /v1/completions", job->model->card.name),
                    "model", "no_chat_template"};
  }
  chat.variables["bos_token"] = job->model->card.bos_token;
  chat.variables["eos_token"] = job->model->card.eos_token;
  const auto text = job->model->chat_template->render(chat.variables, std::chrono::system_clock::now());
  if (!text.is_ok()) return ApiError{400, "the chat template: " + text.status().text(), "messages", "template_error"};
  const auto logprobs = chat.wants_logprobs ? std::optional<uint32_t>(chat.top_logprobs) : std::nullopt;
  return add_prompt(job, job->model->tokenizer->encode(*text), /*default_tokens=*/0, logprobs);
}

std::optional<ApiError> prepare_completion(json::object body, const ModelDirectory& models, uint32_t max_choices,
                                           Job* job) {
  constexpr uint32_t kDefaultTokens = 16;
  CompletionRequest completion;
  if (auto error = parse_completion_request(&body, max_choices, &completion)) return error;
  job->model = models.find(completion.params.model);
  if (!job->model) return unknown_model(completion.params.model);
  job->params = std::move(completion.params);
  job->kind = ReplyKind::kCompletion;
  const text::Tokenizer& tokenizer = *job->model->tokenizer;
  for (Prompt& prompt : completion.prompts) {
    std::string echo;
    std::vector<TokenId> ids;
    if (const auto* text = std::get_if<std::string>(&prompt)) {
      ids = tokenizer.encode(*text, {.adds_special = true, .parses_added = true});
      if (completion.echoes) echo = *text;
    } else {
      ids = std::get<std::vector<TokenId>>(std::move(prompt));
      if (completion.echoes) echo = tokenizer.decode(ids, job->params.skips_special_tokens);
    }
    if (auto error = add_prompt(job, std::move(ids), kDefaultTokens, completion.logprobs)) return error;
    job->echoes.resize(job->requests.size(), echo);
  }
  return std::nullopt;
}

using Prepare = std::optional<ApiError> (*)(json::object, const ModelDirectory&, uint32_t, Job*);

// A sane id of the client's own, or a fresh one.
std::string request_id_of(const http::Request& request) {
  if (const auto given = request.header("x-request-id"); given && !given->empty() && given->size() <= 128) {
    const bool is_plain = std::ranges::all_of(
        *given, [](unsigned char c) { return std::isalnum(c) || c == '-' || c == '_' || c == '.' || c == ':'; });
    if (is_plain) return std::string(*given);
  }
  static thread_local std::mt19937_64 random{(uint64_t{std::random_device{}()} << 32) | std::random_device{}()};
  return fmt::format("{:016x}{:016x}", random(), random());
}

}  // namespace

struct Service::State {
  ServiceOptions options;
  const ModelDirectory* models = nullptr;
  ServiceState process;
  Metrics* metrics = nullptr;
  boost::asio::thread_pool pool{1};  // prepares long prompts

  Task<void> generate(Prepare prepare, const char* endpoint, const http::Request* request,
                      http::ResponseWriter* response);
  Task<std::optional<ApiError>> prepare_job(Prepare prepare, const std::string* body, Job* job);
  Task<void> answer(Job* job, std::string id, RequestMeter* meter, http::ResponseWriter* response);
  Task<void> answer_whole(ChoiceGroup* group, ReplyWriter* writer, const Job* job, http::Response head,
                          RequestMeter* meter, http::ResponseWriter* response);
  Task<void> answer_stream(ChoiceGroup* group, ReplyWriter* writer, const Job* job, http::Response head,
                           RequestMeter* meter, http::ResponseWriter* response);
  std::string health_body() const;
};

namespace {

Usage usage_of(const ChoiceGroup& group, const Job& job) {
  // A prompt's tokens count once, however many choices it has; so do its cached tokens.
  const auto choices = static_cast<uint64_t>(job.params.choices);
  return {job.prompt_tokens, group.completion_tokens(), group.cached_tokens() / choices};
}

Task<void> send_error(ApiError error, std::string id, http::ResponseWriter* response) {
  http::Response reply = response_of(error);
  if (!id.empty()) reply.headers.emplace_back("x-request-id", std::move(id));
  static_cast<void>(co_await response->send(std::move(reply)));
}

}  // namespace

Task<std::optional<ApiError>> Service::State::prepare_job(Prepare prepare, const std::string* body, Job* job) {
  const auto run = [this, prepare, body, job]() -> std::optional<ApiError> {
    json::object object;
    if (auto error = parse_body(*body, options.max_body_depth, &object)) return error;
    return prepare(std::move(object), *models, options.max_choices, job);
  };
  if (body->size() <= kLongBody) co_return run();
  struct Pooled {
    static Task<std::optional<ApiError>> call(std::function<std::optional<ApiError>()> work) { co_return work(); }
  };
  std::function<std::optional<ApiError>()> work = run;
  co_return co_await boost::asio::co_spawn(pool, Pooled::call(std::move(work)), boost::asio::use_awaitable);
}

Task<void> Service::State::generate(Prepare prepare, const char* endpoint, const http::Request* request,
                                    http::ResponseWriter* response) {
  std::string id = request_id_of(*request);
  const Time until = Clock::steady().now() + options.request_timeout;
  Job job;
  auto error = co_await prepare_job(prepare, &request->body, &job);
  if (error) {
    if (job.model) {
      RequestMeter meter(metrics, job.model->card.name, endpoint, job.params.is_stream);
      meter.on_end(error->status, 0);
    }
    ApiError refused = std::move(*error);
    co_await send_error(std::move(refused), std::move(id), response);
    co_return;
  }
  RequestMeter meter(metrics, job.model->card.name, endpoint, job.params.is_stream);
  meter.on_prompt(job.prompt_tokens);
  for (size_t i = 0; i < job.requests.size(); ++i) {
    job.requests[i].id = job.requests.size() == 1 ? id : fmt::format("{}-{}", id, i);
    job.requests[i].deadline = until;
  }
  co_await answer(&job, std::move(id), &meter, response);
}

Task<void> Service::State::answer(Job* job, std::string id, RequestMeter* meter, http::ResponseWriter* response) {
  std::vector<ChoiceStream> streams;
  for (uint32_t i = 0; i < job->requests.size(); ++i) streams.emplace_back(i, job->model->tokenizer.get(), job->params);
  auto started = co_await ChoiceGroup::start(job->model->generator, std::move(job->requests), std::move(streams));
  if (!started.is_ok()) {
    ApiError refused = api_error(started.status());
    meter->on_end(refused.status, 0);
    co_await send_error(std::move(refused), std::move(id), response);
    co_return;
  }
  ReplyWriter::Options options;
  options.kind = job->kind;
  options.id = (job->kind == ReplyKind::kChat ? "chatcmpl-" : "cmpl-") + id;
  options.model = job->model->card.name;
  options.created = std::time(nullptr);
  options.has_logprobs = job->has_logprobs;
  options.includes_usage = job->params.includes_usage;
  options.has_continuous_usage = job->params.has_continuous_usage;
  options.tokenizer = job->model->tokenizer.get();
  ReplyWriter writer(std::move(options));
  http::Response head;
  head.headers.emplace_back("x-request-id", std::move(id));
  if (job->params.is_stream) {
    co_await answer_stream(started->get(), &writer, job, std::move(head), meter, response);
  } else {
    co_await answer_whole(started->get(), &writer, job, std::move(head), meter, response);
  }
}

Task<void> Service::State::answer_whole(ChoiceGroup* group, ReplyWriter* writer, const Job* job, http::Response head,
                                        RequestMeter* meter, http::ResponseWriter* response) {
  std::vector<ChoiceDelta> choices(job->params.choices *
                                   std::max<size_t>(1, job->echoes.size() / std::max<int64_t>(1, job->params.choices)));
  for (uint32_t i = 0; i < choices.size(); ++i) {
    choices[i].index = i;
    if (i < job->echoes.size()) choices[i].text = job->echoes[i];
  }
  for (;;) {
    auto deltas = co_await group->next();
    if (!deltas.is_ok()) {
      ApiError failed = api_error(deltas.status());
      meter->on_end(failed.status, 0);
      std::string none;
      co_await send_error(std::move(failed), std::move(none), response);
      co_return;
    }
    if (deltas->empty()) break;
    meter->on_tokens(group->completion_tokens());
    for (ChoiceDelta& delta : *deltas) {
      ChoiceDelta& choice = choices[delta.index];
      choice.text += delta.text;
      choice.logprobs.insert(choice.logprobs.end(), delta.logprobs.begin(), delta.logprobs.end());
      if (delta.finish_reason) choice.finish_reason = std::move(delta.finish_reason);
    }
  }
  const Usage usage = usage_of(*group, *job);
  meter->on_end(200, usage.cached_tokens);
  head.body = writer->reply(choices, usage);
  if (!group->worker().empty()) head.headers.emplace_back("x-dynamo-worker", group->worker());
  static_cast<void>(co_await response->send(std::move(head)));
}

Task<void> Service::State::answer_stream(ChoiceGroup* group, ReplyWriter* writer, const Job* job, http::Response head,
                                         RequestMeter* meter, http::ResponseWriter* response) {
  // The head waits for the first tokens, so that a failure before them still has a status of its own.
  auto deltas = co_await group->next();
  if (!deltas.is_ok()) {
    ApiError failed = api_error(deltas.status());
    meter->on_end(failed.status, 0);
    std::string none;
    co_await send_error(std::move(failed), std::move(none), response);
    co_return;
  }
  head.content_type = "text/event-stream";
  head.headers.emplace_back("cache-control", "no-cache");
  if (!group->worker().empty()) head.headers.emplace_back("x-dynamo-worker", group->worker());
  Status written = co_await response->begin(std::move(head));
  std::vector<bool> has_begun(std::max<size_t>(job->echoes.size(), static_cast<size_t>(job->params.choices)));
  while (written.is_ok() && deltas.is_ok() && !deltas->empty()) {
    meter->on_tokens(group->completion_tokens());
    std::string out;
    const Usage usage = usage_of(*group, *job);
    for (ChoiceDelta& delta : *deltas) {
      if (!has_begun[delta.index]) {
        has_begun[delta.index] = true;
        if (job->kind == ReplyKind::kChat) out += writer->role_event(delta.index, usage);
        if (delta.index < job->echoes.size()) delta.text = job->echoes[delta.index] + delta.text;
      }
      // Text and end are two events, as OpenAI sends them; tokens that are no text yet (half a character) are none.
      std::optional<std::string> finish = std::exchange(delta.finish_reason, std::nullopt);
      if (!delta.text.empty() || !delta.logprobs.empty()) out += writer->delta_event(delta, usage);
      if (finish) {
        ChoiceDelta end;
        end.index = delta.index;
        end.finish_reason = std::move(finish);
        out += writer->delta_event(end, usage);
      }
    }
    written = co_await response->write(std::move(out));
    if (written.is_ok()) deltas = co_await group->next();
  }
  if (!written.is_ok()) co_return;  // the client is gone; the group is dropped with this frame
  std::string last;
  if (!deltas.is_ok()) {
    const ApiError failed = api_error(deltas.status());
    meter->on_end(failed.status, 0);
    last = event_of(failed);
  } else {
    const Usage usage = usage_of(*group, *job);
    meter->on_end(200, usage.cached_tokens);
    if (job->params.includes_usage) last = writer->usage_event(usage);
    last += ReplyWriter::done_event();
  }
  written = co_await response->write(std::move(last));
  if (written.is_ok()) static_cast<void>(co_await response->end());
}

std::string Service::State::health_body() const {
  json::object body = process.health ? process.health() : json::object();
  body["status"] = process.is_ready() ? "healthy" : "unhealthy";
  return json::serialize(body);
}

namespace {

json::object model_object(const ServedModel& model) {
  return {{"id", model.card.name},
          {"object", "model"},
          {"created", model.created},
          {"owned_by", "dynamo"},
          {"max_model_len", model.card.context_length}};
}

// A handler that answers at once.
http::Handler plain(std::function<http::Response(const http::Request&)> make) {
  struct Plain {
    static Task<void> call(http::Response made, http::ResponseWriter* response) {
      static_cast<void>(co_await response->send(std::move(made)));
    }
  };
  return [make = std::move(make)](const http::Request* request, http::ResponseWriter* response) {
    return Plain::call(make(*request), response);
  };
}

}  // namespace

Service::Service(ServiceOptions options, const ModelDirectory* models, ServiceState state, Metrics* metrics)
    : state_(std::make_unique<State>()) {
  state_->options = options;
  state_->models = models;
  state_->process = std::move(state);
  state_->metrics = metrics;
}

Service::~Service() {
  state_->pool.join();
}

void Service::add_routes(http::Server* server) {
  State* state = state_.get();
  server->route("POST", "/v1/chat/completions", [state](const http::Request* request, http::ResponseWriter* response) {
    return state->generate(prepare_chat, "chat_completions", request, response);
  });
  server->route("POST", "/v1/completions", [state](const http::Request* request, http::ResponseWriter* response) {
    return state->generate(prepare_completion, "completions", request, response);
  });
  server->route(
      "GET", "/v1/models", plain([state](const http::Request&) {
        json::array data;
        for (const auto& model : state->models->list()) data.push_back(model_object(*model));
        return http::Response{.body = json::serialize(json::object{{"object", "list"}, {"data", std::move(data)}})};
      }));
  server->route("GET", "/v1/models/{id}", plain([state](const http::Request& request) {
                  const std::string& id = request.path_parameter("id");
                  const auto model = state->models->find(id);
                  return model ? http::Response{.body = json::serialize(model_object(*model))}
                               : response_of(unknown_model(id));
                }));
  server->route("GET", "/health", plain([state](const http::Request&) {
                  return http::Response{.status = state->process.is_ready() ? 200 : 503, .body = state->health_body()};
                }));
  server->route("GET", "/live",
                plain([](const http::Request&) { return http::Response{.body = R"({"status":"live"})"}; }));
  server->route("GET", "/ready", plain([state](const http::Request&) {
                  const bool is_ready = state->process.is_ready();
                  return http::Response{.status = is_ready ? 200 : 503,
                                        .body = is_ready ? R"({"status":"ready"})" : R"({"status":"not ready"})"};
                }));
  server->route("GET", "/metrics", plain([state](const http::Request&) {
                  return http::Response{.content_type = "text/plain; version=0.0.4", .body = state->metrics->expose()};
                }));
}

}  // namespace dynamo::openai
