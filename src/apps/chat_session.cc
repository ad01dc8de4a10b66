#include "apps/chat_session.h"

#include <fmt/format.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>

#include "base/task.h"
#include "json/parse.h"

namespace dynamo::apps {

struct ChatSession::State {
  ChatOptions options;
  boost::asio::io_context io{1};
  std::unique_ptr<load::OpenAiClient> client;
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
  std::string body_of_request() const;
};

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

ChatSession::ChatSession(std::unique_ptr<State> state) : state_(std::move(state)) {}
ChatSession::~ChatSession() = default;

Result<std::unique_ptr<ChatSession>> ChatSession::open(ChatOptions options) {
  TRY(http::Url url, http::parse_url(options.url));
  auto state = std::make_unique<State>();
  state->options = std::move(options);
  state->client = std::make_unique<load::OpenAiClient>(state->io.get_executor(), std::move(url));
  if (state->options.model.empty()) {
    TRY(state->options.model, state->run(state->client->first_model(state->until())));
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

Result<load::Answer> ChatSession::ask(const std::string& question, const std::function<void(std::string_view)>& show) {
  state_->messages.push_back({{"role", "user"}, {"content", question}});
  load::Answer answer;
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
  const Status status = state_->run(
      state_->client->ask("/v1/chat/completions", state_->body_of_request(), state_->until(), show, &answer));
  turn->is_over = true;
  if (!status.is_ok() && !turn->is_stopped) {
    state_->messages.pop_back();
    return status;
  }
  if (!status.is_ok()) answer.finish_reason.clear();  // stopped
  state_->messages.push_back({{"role", "assistant"}, {"content", answer.text}});
  return answer;
}

std::string describe(const load::Answer& answer) {
  if (answer.finish_reason.empty()) return "stopped";
  const auto seconds = [](Duration duration) { return std::chrono::duration<double>(duration).count(); };
  const double decoding = seconds(answer.total - answer.first_token);
  std::string speed;
  if (answer.completion_tokens > 1 && decoding > 0) {
    speed = fmt::format(", {:.1f} tokens/s", static_cast<double>(answer.completion_tokens - 1) / decoding);
  }
  return fmt::format("first token after {:.0f} ms{} ({} tokens; {} of {} prompt tokens cached{})",
                     seconds(answer.first_token) * 1000, speed, answer.completion_tokens, answer.cached_tokens,
                     answer.prompt_tokens, answer.worker.empty() ? "" : "; " + answer.worker);
}

}  // namespace dynamo::apps
