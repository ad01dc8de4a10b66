#include "openai/logprobs.h"

#include <algorithm>
#include <cmath>

#include "json/writer.h"

namespace dynamo::openai {
namespace {

// What stands for a logarithm of zero, as OpenAI writes it; JSON has no infinity.
constexpr float kNoProbability = -9999.0F;

// A token's text by itself: what is no whole character shows as U+FFFD.
std::string text_of(const text::Tokenizer& tokenizer, TokenId token) {
  return tokenizer.decode(std::span(&token, 1), false);
}

// [write(first), write(second), ...]
template <class Items, class Write>
void append_array(std::string* out, const Items& items, Write write) {
  out->push_back('[');
  bool is_first = true;
  for (const auto& item : items) {
    if (!is_first) out->push_back(',');
    is_first = false;
    write(item);
  }
  out->push_back(']');
}

// "token": ..., "logprob": ..., "bytes": [...]
void append_chat_token(std::string* out, const text::Tokenizer& tokenizer, const TokenLogprob& token) {
  *out += R"("token":)";
  json::append_string(out, text_of(tokenizer, token.token));
  *out += R"(,"logprob":)";
  append_logprob(out, token.logprob);
  *out += R"(,"bytes":)";
  append_array(out, tokenizer.token_bytes(token.token),
               [&](char byte) { json::append_number(out, static_cast<unsigned char>(byte)); });
}

void append_top(std::string* out, const text::Tokenizer& tokenizer, const TokenLogprobs& token) {
  std::vector<std::string> named;
  out->push_back('{');
  const auto append = [&](const TokenLogprob& entry) {
    std::string text = text_of(tokenizer, entry.token);
    if (std::find(named.begin(), named.end(), text) != named.end()) return;
    if (!named.empty()) out->push_back(',');
    json::append_string(out, text);
    out->push_back(':');
    append_logprob(out, entry.logprob);
    named.push_back(std::move(text));
  };
  std::for_each(token.top.begin(), token.top.end(), append);
  append(token.drawn);
  out->push_back('}');
}

}  // namespace

void append_logprob(std::string* out, float value) {
  json::append_float(out, std::isfinite(value) ? value : kNoProbability);
}

void append_chat_logprobs(std::string* out, const text::Tokenizer& tokenizer, std::span<const ShownToken> tokens) {
  *out += R"({"content":)";
  append_array(out, tokens, [&](const ShownToken& token) {
    out->push_back('{');
    append_chat_token(out, tokenizer, token.logprobs.drawn);
    *out += R"(,"top_logprobs":)";
    append_array(out, token.logprobs.top, [&](const TokenLogprob& entry) {
      out->push_back('{');
      append_chat_token(out, tokenizer, entry);
      out->push_back('}');
    });
    out->push_back('}');
  });
  *out += R"(,"refusal":null})";
}

void append_completion_logprobs(std::string* out, const text::Tokenizer& tokenizer,
                                std::span<const ShownToken> tokens) {
  *out += R"({"tokens":)";
  append_array(out, tokens, [&](const ShownToken& token) {
    json::append_string(out, text_of(tokenizer, token.logprobs.drawn.token));
  });
  *out += R"(,"token_logprobs":)";
  append_array(out, tokens, [&](const ShownToken& token) { append_logprob(out, token.logprobs.drawn.logprob); });
  *out += R"(,"top_logprobs":)";
  append_array(out, tokens, [&](const ShownToken& token) { append_top(out, tokenizer, token.logprobs); });
  *out += R"(,"text_offset":)";
  append_array(out, tokens, [&](const ShownToken& token) { json::append_number(out, token.text_offset); });
  out->push_back('}');
}

}  // namespace dynamo::openai
