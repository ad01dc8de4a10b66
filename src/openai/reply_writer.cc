#include "openai/reply_writer.h"

#include <fmt/format.h>

#include <array>
#include <iterator>

namespace dynamo::openai {
namespace {

std::string quoted(std::string_view text) {
  std::string out;
  append_json_string(text, &out);
  return out;
}

std::string usage_object(const Usage& usage) {
  return fmt::format(
      R"({{"prompt_tokens":{},"completion_tokens":{},"total_tokens":{},"prompt_tokens_details":{{"cached_tokens":{}}}}})",
      usage.prompt_tokens, usage.completion_tokens, usage.prompt_tokens + usage.completion_tokens, usage.cached_tokens);
}

std::string finish_of(const ChoiceDelta& delta) {
  return delta.finish_reason ? "\"" + *delta.finish_reason + "\"" : "null";
}

// A token's text for logprobs; bytes that are no UTF-8 by themselves are shown as U+FFFD, and given exactly in `bytes`.
std::string token_text(const text::Tokenizer& tokenizer, TokenId token) {
  return tokenizer.decode(std::span(&token, 1), /*skip_special=*/false);
}

std::string chat_logprob(const text::Tokenizer& tokenizer, const TokenLogprob& entry) {
  std::string bytes;
  for (const unsigned char byte : tokenizer.token_bytes(entry.token))
    fmt::format_to(std::back_inserter(bytes), "{}{}", bytes.empty() ? "" : ",", byte);
  return fmt::format(R"("token":{},"logprob":{:.6f},"bytes":[{}])", quoted(token_text(tokenizer, entry.token)),
                     std::max(entry.logprob, -9999.0F), bytes);
}

std::string chat_logprobs(const text::Tokenizer& tokenizer, const ChoiceDelta& delta) {
  std::string out = R"({"content":[)";
  for (size_t i = 0; i < delta.logprobs.size(); ++i) {
    out +=
        fmt::format("{}{{{},\"top_logprobs\":[", i == 0 ? "" : ",", chat_logprob(tokenizer, delta.logprobs[i].drawn));
    for (size_t k = 0; k < delta.logprobs[i].top.size(); ++k) {
      out += fmt::format("{}{{{}}}", k == 0 ? "" : ",", chat_logprob(tokenizer, delta.logprobs[i].top[k]));
    }
    out += "]}";
  }
  return out + "],\"refusal\":null}";
}

std::string completion_logprobs(const text::Tokenizer& tokenizer, const ChoiceDelta& delta, uint64_t* offset) {
  std::string tokens;
  std::string drawn;
  std::string tops;
  std::string offsets;
  for (size_t i = 0; i < delta.logprobs.size(); ++i) {
    const TokenLogprobs& entry = delta.logprobs[i];
    const char* comma = i == 0 ? "" : ",";
    const std::string text = token_text(tokenizer, entry.drawn.token);
    tokens += comma;
    tokens += quoted(text);
    drawn += fmt::format("{}{:.6f}", comma, std::max(entry.drawn.logprob, -9999.0F));
    offsets += fmt::format("{}{}", comma, *offset);
    *offset += text.size();
    tops += fmt::format("{}{{", comma);
    for (size_t k = 0; k < entry.top.size(); ++k) {
      tops += fmt::format("{}{}:{:.6f}", k == 0 ? "" : ",", quoted(token_text(tokenizer, entry.top[k].token)),
                          std::max(entry.top[k].logprob, -9999.0F));
    }
    tops += "}";
  }
  return fmt::format(R"({{"tokens":[{}],"token_logprobs":[{}],"top_logprobs":[{}],"text_offset":[{}]}})", tokens, drawn,
                     tops, offsets);
}

}  // namespace

void append_json_string(std::string_view text, std::string* out) {
  static constexpr char kHex[] = "0123456789abcdef";
  *out += '"';
  size_t plain = 0;  // start of the run that needs no escape
  for (size_t i = 0; i < text.size(); ++i) {
    const auto c = static_cast<unsigned char>(text[i]);
    if (c >= 0x20 && c != '"' && c != '\\') continue;
    out->append(text, plain, i - plain);
    plain = i + 1;
    switch (c) {
      case '"':
        *out += "\\\"";
        break;
      case '\\':
        *out += "\\\\";
        break;
      case '\n':
        *out += "\\n";
        break;
      case '\r':
        *out += "\\r";
        break;
      case '\t':
        *out += "\\t";
        break;
      default:
        *out += "\\u00";
        *out += kHex[c >> 4];
        *out += kHex[c & 15];
    }
  }
  out->append(text, plain);
  *out += '"';
}

ReplyWriter::ReplyWriter(Options options) : options_(std::move(options)) {
  const char* object = options_.kind == ReplyKind::kChat ? "chat.completion.chunk" : "text_completion";
  prefix_ = fmt::format(R"({{"id":{},"object":"{}","created":{},"model":{},"choices":[)", quoted(options_.id), object,
                        options_.created, quoted(options_.model));
}

void ReplyWriter::append_event(std::string_view choice, const Usage& usage, std::string* out) const {
  *out += "data: ";
  *out += prefix_;
  *out += choice;
  if (options_.has_continuous_usage) {
    *out += "],\"usage\":" + usage_object(usage) + "}\n\n";
  } else {
    *out += options_.includes_usage ? "],\"usage\":null}\n\n" : "]}\n\n";
  }
}

std::string ReplyWriter::role_event(uint32_t index, const Usage& usage) const {
  std::string out;
  append_event(
      fmt::format(R"({{"index":{},"delta":{{"role":"assistant","content":""}},"logprobs":null,"finish_reason":null}})",
                  index),
      usage, &out);
  return out;
}

std::string ReplyWriter::logprobs_of(const ChoiceDelta& delta) {
  if (!options_.has_logprobs || delta.logprobs.empty()) return "null";
  if (options_.kind == ReplyKind::kChat) return chat_logprobs(*options_.tokenizer, delta);
  if (text_offsets_.size() <= delta.index) text_offsets_.resize(delta.index + 1);
  return completion_logprobs(*options_.tokenizer, delta, &text_offsets_[delta.index]);
}

std::string ReplyWriter::delta_event(const ChoiceDelta& delta, const Usage& usage) {
  std::string choice = fmt::format(R"({{"index":{},)", delta.index);
  if (options_.kind == ReplyKind::kCompletion) {
    choice += "\"text\":";
    append_json_string(delta.text, &choice);
  } else if (delta.text.empty()) {
    choice += "\"delta\":{}";
  } else {
    choice += "\"delta\":{\"content\":";
    append_json_string(delta.text, &choice);
    choice += '}';
  }
  choice += ",\"logprobs\":" + logprobs_of(delta) + ",\"finish_reason\":" + finish_of(delta) + "}";
  std::string out;
  append_event(choice, usage, &out);
  return out;
}

std::string ReplyWriter::usage_event(const Usage& usage) const {
  return "data: " + prefix_ + "],\"usage\":" + usage_object(usage) + "}\n\n";
}

std::string ReplyWriter::reply(const std::vector<ChoiceDelta>& choices, const Usage& usage) {
  const char* object = options_.kind == ReplyKind::kChat ? "chat.completion" : "text_completion";
  std::string out = fmt::format(R"({{"id":{},"object":"{}","created":{},"model":{},"choices":[)", quoted(options_.id),
                                object, options_.created, quoted(options_.model));
  for (const ChoiceDelta& choice : choices) {
    if (&choice != choices.data()) out += ',';
    out += fmt::format(R"({{"index":{},)", choice.index);
    if (options_.kind == ReplyKind::kChat) {
      out += R"("message":{"role":"assistant","content":)";
      append_json_string(choice.text, &out);
      out += R"(,"refusal":null})";
    } else {
      out += "\"text\":";
      append_json_string(choice.text, &out);
    }
    out += ",\"logprobs\":" + logprobs_of(choice) + ",\"finish_reason\":" + finish_of(choice) + "}";
  }
  return out + "],\"usage\":" + usage_object(usage) + "}";
}

}  // namespace dynamo::openai
