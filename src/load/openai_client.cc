#include "load/openai_client.h"

#include <fmt/format.h>

#include <optional>

#include "json/lookup.h"

namespace dynamo::load {
namespace {

// What a server says of a failure, in one line.
Status failure_of(const http::Response& response) {
  const auto body = json::parse(response.body);
  std::string text;
  if (body.is_ok()) {
    const bool has_error = json::find(*body, "/error") != nullptr;
    text = has_error ? json::find_text(*body, "/error/message") : json::find_text(*body, "/message");
  }
  if (text.empty()) text = response.body.substr(0, 200);
  text = fmt::format("HTTP {}: {}", response.status, text);
  return response.status >= 500 ? unavailable(std::move(text)) : invalid(std::move(text));
}

// Reads one event. Returns: the text that it brings.
Result<std::string> take(const std::string& data, Answer* answer) {
  const auto parsed = json::parse(data);
  if (!parsed.is_ok()) return corrupt("an event is not JSON");
  const json::value& event = *parsed;
  if (json::find(event, "/error") != nullptr) {
    const std::string message(json::find_text(event, "/error/message"));
    return unavailable(message.empty() ? "an error event" : message);
  }
  if (const json::value* usage = json::find(event, "/usage"); usage != nullptr && usage->is_object()) {
    answer->prompt_tokens = json::find_count(*usage, "/prompt_tokens");
    answer->completion_tokens = json::find_count(*usage, "/completion_tokens");
    answer->cached_tokens = json::find_count(*usage, "/prompt_tokens_details/cached_tokens");
  }
  const json::value* choice = json::find(event, "/choices/0");
  if (choice == nullptr) return std::string();
  if (const auto reason = json::find_text(*choice, "/finish_reason"); !reason.empty()) answer->finish_reason = reason;
  const bool is_chat = json::find(*choice, "/delta") != nullptr;
  return std::string(json::find_text(*choice, is_chat ? "/delta/content" : "/text"));
}

}  // namespace

OpenAiClient::OpenAiClient(boost::asio::any_io_executor executor, http::Url server, const std::string& api_key)
    : client_(std::move(executor), server), server_(host_port_text(server.server.host, server.server.port)) {
  if (!api_key.empty()) headers_.emplace_back("Authorization", "Bearer " + api_key);
}

Task<Result<std::string>> OpenAiClient::first_model(Time until) {
  auto answer = co_await client_.fetch("GET", "/v1/models", headers_, "", until);
  if (!answer.is_ok()) co_return answer.status();
  if (answer->status != 200) co_return failure_of(*answer);
  const auto body = json::parse(answer->body);
  if (!body.is_ok() || json::find(*body, "/data/0") == nullptr)
    co_return not_found(fmt::format("the server at {} serves no model now", server_));
  std::string name(json::find_text(*body, "/data/0/id"));
  if (name.empty()) co_return corrupt("the list of models has no ids");
  co_return name;
}

Task<Status> OpenAiClient::ask(std::string path, std::string body, Time until,
                               std::function<void(std::string_view)> show, Answer* answer) {
  const Time sent = Clock::steady().now();
  auto head = co_await client_.begin("POST", std::move(path), headers_, std::move(body), until);
  answer->total = Clock::steady().now() - sent;
  if (!head.is_ok()) co_return head.status();
  for (const auto& [name, value] : head->headers)
    if (name == "x-dynamo-worker") answer->worker = value;
  http::SseReader reader;
  Status status = unavailable("the stream ended before [DONE]");
  std::optional<Time> last;
  for (;;) {
    auto piece = co_await client_.read(until);
    const Time now = Clock::steady().now();
    answer->total = now - sent;
    if (!piece.is_ok()) co_return piece.status();
    if (piece->empty()) break;
    if (head->status != 200) {
      head->body += *piece;
      continue;
    }
    for (const std::string& data : reader.push(*piece)) {
      if (data == "[DONE]") {
        status = {};
        continue;
      }
      CO_TRY(const std::string text, take(data, answer));
      if (text.empty()) continue;
      if (last) {
        answer->gaps.push_back(now - *last);
      } else {
        answer->first_token = now - sent;
      }
      last = now;
      answer->text += text;
      show(text);
    }
  }
  co_return head->status == 200 ? status : failure_of(*head);
}

}  // namespace dynamo::load
