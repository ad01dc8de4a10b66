#include "openai/reply_writer.h"

#include <fmt/format.h>

#include "json/writer.h"
#include "openai/logprobs.h"

namespace dynamo::openai {
namespace {

constexpr std::string_view kUnfinished = R"(,"finish_reason":null})";

std::string_view reason_name(FinishReason reason) {
  switch (reason) {
    case FinishReason::kStop:
      return "stop";
    case FinishReason::kLength:
      return "length";
  }
  return "stop";
}

void append_finish_reason(std::string* out, FinishReason reason) {
  *out += R"(,"finish_reason":")";
  *out += reason_name(reason);
  *out += "\"}";
}

std::string usage_json(const Usage& usage) {
  return fmt::format(
      R"({{"prompt_tokens":{},"completion_tokens":{},"total_tokens":{},"prompt_tokens_details":{{"cached_tokens":{}}}}})",
      usage.prompt_tokens, usage.completion_tokens, usage.prompt_tokens + usage.completion_tokens, usage.cached_tokens);
}

}  // namespace

ReplyWriter::ReplyWriter(const PreparedRequest* request, const std::string& id, int64_t created)
    : request_(request), id_(id), created_(created) {
  event_begin_ =
      "data: " + envelope(is_chat() ? "chat.completion.chunk" : "text_completion") + R"("choices":[{"index":)";
}

// {"id": ..., "object": ..., "created": ..., "model": ..., with the comma behind.
std::string ReplyWriter::envelope(std::string_view object) const {
  std::string out = R"({"id":)";
  json::append_string(&out, id_);
  out += fmt::format(R"(,"object":"{}","created":{},"model":)", object, created_);
  json::append_string(&out, request_->model->card.name);
  out.push_back(',');
  return out;
}

void ReplyWriter::append_logprobs(std::string* out, std::span<const ShownToken> tokens) const {
  *out += R"(,"logprobs":)";
  if (!request_->options.logprobs || tokens.empty()) {
    *out += "null";
  } else if (is_chat()) {
    append_chat_logprobs(out, *request_->model->tokenizer, tokens);
  } else {
    append_completion_logprobs(out, *request_->model->tokenizer, tokens);
  }
}

void ReplyWriter::append_event_end(std::string* out, const Usage& so_far) const {
  const RequestOptions& options = request_->options;
  out->push_back(']');
  if (options.has_continuous_usage) {
    *out += R"(,"usage":)";
    *out += usage_json(so_far);
  } else if (options.includes_usage) {
    *out += R"(,"usage":null)";
  }
  *out += "}\n\n";
}

void ReplyWriter::append_start(std::string* out, uint32_t choice, const Usage& so_far) const {
  const std::string& echo = request_->prompt_of(choice).echo;
  if (!is_chat() && echo.empty()) return;
  *out += event_begin_;
  json::append_number(out, choice);
  if (is_chat()) {
    *out += R"(,"delta":{"role":"assistant","content":"","refusal":null})";
  } else {
    *out += R"(,"text":)";
    json::append_string(out, echo);
  }
  *out += R"(,"logprobs":null)";
  *out += kUnfinished;
  append_event_end(out, so_far);
}

void ReplyWriter::append_delta(std::string* out, uint32_t choice, const ChoicePiece& piece, const Usage& so_far) const {
  if (piece.text.empty() && piece.tokens.empty()) return;
  *out += event_begin_;
  json::append_number(out, choice);
  *out += is_chat() ? R"(,"delta":{"content":")" : R"(,"text":")";
  json::append_escaped(out, piece.text);
  *out += is_chat() ? "\"}" : "\"";
  append_logprobs(out, piece.tokens);
  *out += kUnfinished;
  append_event_end(out, so_far);
}

void ReplyWriter::append_finish(std::string* out, uint32_t choice, FinishReason reason, const Usage& so_far) const {
  *out += event_begin_;
  json::append_number(out, choice);
  *out += is_chat() ? R"(,"delta":{},"logprobs":null)" : R"(,"text":"","logprobs":null)";
  append_finish_reason(out, reason);
  append_event_end(out, so_far);
}

void ReplyWriter::append_end(std::string* out, const Usage& usage) const {
  if (request_->options.includes_usage) {
    *out += "data: ";
    *out += envelope(is_chat() ? "chat.completion.chunk" : "text_completion");
    *out += R"("choices":[],"usage":)";
    *out += usage_json(usage);
    *out += "}\n\n";
  }
  *out += "data: [DONE]\n\n";
}

void ReplyWriter::append_failure(std::string* out, const ApiError& error) {
  *out += "data: ";
  *out += error_body(error);
  *out += "\n\n";
}

std::string ReplyWriter::whole_reply(const std::vector<WholeChoice>& choices, const Usage& usage) const {
  std::string out = envelope(is_chat() ? "chat.completion" : "text_completion");
  out += R"("choices":[)";
  for (uint32_t i = 0; i < choices.size(); ++i) {
    if (i > 0) out.push_back(',');
    out += R"({"index":)";
    json::append_number(&out, i);
    out += is_chat() ? R"(,"message":{"role":"assistant","content":")" : R"(,"text":")";
    if (!is_chat()) json::append_escaped(&out, request_->prompt_of(i).echo);
    json::append_escaped(&out, choices[i].text);
    out += is_chat() ? R"(","refusal":null})" : "\"";
    append_logprobs(&out, choices[i].tokens);
    append_finish_reason(&out, choices[i].finish);
  }
  out += R"(],"usage":)";
  out += usage_json(usage);
  out.push_back('}');
  return out;
}

}  // namespace dynamo::openai
