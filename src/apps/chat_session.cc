#include "apps/chat_session.h"

#include <fmt/format.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>

#include "base/task.h"
#include "http/client.h"
#include "json/lookup.h"
#include "json/parse.h"

namespace dynamo::apps {
namespace {

Result<json::value> parse_reply(std::string_view text) {
  auto value = json::parse(text);
  if (!value.is_ok()) return value.status().with("the server's reply");
  return value;
}

// What an error body says, or its status when it is not OpenAI's error object.
Status status_of(int http_status, const std::string& body) {
  std::string message;
  if (const auto value = json::parse(body); value.is_ok()) message = json::find_text(*value, "/error/message");
  if (message.empty()) message = fmt::format("the server answered with HTTP status {}", http_status);
  return http_status >= 500 ? unavailable(message) : invalid(message);
}

}  // namespace

struct ChatSession::State {
  ChatOptions options;
  boost::asio::io_context io{1};
  std::unique_ptr<http::Client> client;
  json::array messages;

  // Runs a task to its end on this thread.
  template <class T>
  T run(Task<T> task) {
    T out{};
    boost::asio::co_spawn(io, std::move(task), [&](std::exception_ptr, T result) {
      out = std::move(result);
      io.stop();
    });
    io.restart();
    io.run();
    return out;
  }

  Time until() const { return Clock::steady().now() + options.timeout; }
  Task<Result<std::string>> find_model();
  std::string body_of_request() const;
  Task<Result<AnswerStats>> stream(const std::function<void(std::string_view)>* show, std::string* answer,
                                   const bool* is_stopped);
  Status read_event(const std::string& data, const std::function<void(std::string_view)>& show, std::string* answer,
                    Time started, AnswerStats* stats) const;
};

Task<Result<std::string>> ChatSession::State::find_model() {
  http::Headers headers;
  std::string empty;
  CO_TRY(const http::Response response, co_await client->fetch("GET", "/v1/models", headers, empty, until()));
  if (response.status != 200) co_return status_of(response.status, response.body);
  CO_TRY(const json::value value, parse_reply(response.body));
  std::string name(json::find_text(value, "/data/0/id"));
  if (name.empty()) co_return not_found("the server at " + options.url + " has no model");
  co_return name;
}

std::string ChatSession::State::body_of_request() const {
  json::object body = {{"model", options.model},
                       {"messages", messages},
                       {"stream", true},
                       {"stream_options", {{"include_usage", true}}}};
  if (options.temperature) body["temperature"] = *options.temperature;
  if (options.max_tokens) body["max_tokens"] = *options.max_tokens;
  if (options.seed) body["seed"] = *options.seed;
  return json::serialize(body);
}

Status ChatSession::State::read_event(const std::string& data, const std::function<void(std::string_view)>& show,
                                      std::string* answer, Time started, AnswerStats* stats) const {
  TRY(const json::value event, parse_reply(data));
  if (json::find(event, "/error")) return unavailable(std::string(json::find_text(event, "/error/message")));
  const std::string_view piece = json::find_text(event, "/choices/0/delta/content");
  if (!piece.empty()) {
    if (answer->empty()) stats->first_token = Clock::steady().now() - started;
    *answer += piece;
    show(piece);
  }
  if (const auto reason = json::find_text(event, "/choices/0/finish_reason"); !reason.empty())
    stats->finish_reason = reason;
  if (const json::value* usage = json::find(event, "/usage"); usage && usage->is_object()) {
    stats->prompt_tokens = json::find_count(*usage, "/prompt_tokens");
    stats->completion_tokens = json::find_count(*usage, "/completion_tokens");
    stats->cached_tokens = json::find_count(*usage, "/prompt_tokens_details/cached_tokens");
  }
  return {};
}

Task<Result<AnswerStats>> ChatSession::State::stream(const std::function<void(std::string_view)>* show,
                                                     std::string* answer, const bool* is_stopped) {
  const Time started = Clock::steady().now();
  const Time deadline = until();
  http::Headers headers = {{"content-type", "application/json"}};
  CO_TRY(http::Response head,
         co_await client->begin("POST", "/v1/chat/completions", headers, body_of_request(), deadline));
  AnswerStats stats;
  for (const auto& [name, value] : head.headers) {
    if (name == "x-dynamo-worker") stats.worker = value;
  }
  http::SseReader events;
  std::string error_body;
  while (!*is_stopped) {
    CO_TRY(const std::string piece, co_await client->read(deadline));
    if (piece.empty()) break;
    if (head.status != 200) {
      error_body += piece;
      continue;
    }
    for (const std::string& data : events.push(piece)) {
      if (data != "[DONE]") CO_TRY_STATUS(read_event(data, *show, answer, started, &stats));
    }
  }
  if (head.status != 200) co_return status_of(head.status, error_body);
  if (stats.finish_reason.empty() && !*is_stopped) co_return unavailable("the answer broke off");
  stats.total = Clock::steady().now() - started;
  co_return stats;
}

ChatSession::ChatSession(std::unique_ptr<State> state) : state_(std::move(state)) {}
ChatSession::~ChatSession() = default;

Result<std::unique_ptr<ChatSession>> ChatSession::open(ChatOptions options) {
  TRY(http::Url url, http::parse_url(options.url));
  auto state = std::make_unique<State>();
  state->options = std::move(options);
  state->client = std::make_unique<http::Client>(state->io.get_executor(), std::move(url));
  if (state->options.model.empty()) {
    TRY(state->options.model, state->run(state->find_model()));
  }
  auto session = std::unique_ptr<ChatSession>(new ChatSession(std::move(state)));
  session->reset();
  return session;
}

void ChatSession::reset() {
  state_->messages.clear();
  if (!state_->options.system.empty())
    state_->messages.push_back({{"role", "system"}, {"content", state_->options.system}});
}

const std::string& ChatSession::model() const {
  return state_->options.model;
}

Result<AnswerStats> ChatSession::ask(const std::string& question, const std::function<void(std::string_view)>& show) {
  state_->messages.push_back({{"role", "user"}, {"content", question}});
  std::string answer;
  // A signal that comes with the answer's end is handled during the next one: it must not stop that.
  struct Turn {
    bool is_stopped = false;
    bool is_over = false;
  };
  const auto turn = std::make_shared<Turn>();
  boost::asio::signal_set interrupt(state_->io, SIGINT);
  interrupt.async_wait([this, turn](const boost::system::error_code& error, int) {
    if (error || turn->is_over) return;
    turn->is_stopped = true;
    state_->client->close();
  });
  auto stats = state_->run(state_->stream(&show, &answer, &turn->is_stopped));
  turn->is_over = true;
  if (!stats.is_ok() && turn->is_stopped) stats = AnswerStats{};
  if (stats.is_ok()) {
    state_->messages.push_back({{"role", "assistant"}, {"content", answer}});
  } else {
    state_->messages.pop_back();
  }
  return stats;
}

std::string describe(const AnswerStats& stats) {
  if (stats.finish_reason.empty()) return "stopped";
  const auto seconds = [](Duration duration) { return std::chrono::duration<double>(duration).count(); };
  const double decoding = seconds(stats.total - stats.first_token);
  std::string speed;
  if (stats.completion_tokens > 1 && decoding > 0) {
    speed = fmt::format(", {:.1f} tokens/s", static_cast<double>(stats.completion_tokens - 1) / decoding);
  }
  return fmt::format("first token after {:.0f} ms{} ({} tokens; {} of {} prompt tokens cached{})",
                     seconds(stats.first_token) * 1000, speed, stats.completion_tokens, stats.cached_tokens,
                     stats.prompt_tokens, stats.worker.empty() ? "" : "; " + stats.worker);
}

}  // namespace dynamo::apps
