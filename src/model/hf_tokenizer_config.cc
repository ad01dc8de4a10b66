#include <charconv>

#include <fmt/format.h>

#include "json/node.h"
#include "json/parse.h"
#include "model/hf_config.h"

namespace dynamo::model {
namespace {

std::optional<std::string> as_text(std::optional<std::string_view> text) {
  return text ? std::optional(std::string(*text)) : std::nullopt;
}

// A token is written as its text or as an object with `content`.
Result<std::optional<std::string>> read_token(const json::Node& token) {
  const bool is_object = !token.is_absent() && token.value()->is_object();
  TRY(const auto text, is_object ? token["content"].find_string() : token.find_string());
  return as_text(text);
}

// The number of a token by added_tokens_decoder, which older versions write: {"2": {"content": "<|im_end|>"}}.
std::optional<TokenId> find_id(const json::object* decoder, const std::optional<std::string>& token) {
  if (decoder == nullptr || !token) return std::nullopt;
  for (const auto& [key, value] : *decoder) {
    if (!value.is_object()) continue;
    const json::value* content = value.get_object().if_contains("content");
    if (content == nullptr || !content->is_string() || content->get_string() != *token) continue;
    TokenId id = 0;
    const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), id);
    if (error == std::errc() && end == key.data() + key.size()) return id;
  }
  return std::nullopt;
}

// One template, or a list of named ones.
Result<std::string> read_template(const json::Node& node) {
  if (node.is_absent() || !node.value()->is_array()) {
    TRY(const auto text, node.find_string());
    return std::string(text.value_or(""));
  }
  const json::array& entries = node.value()->get_array();
  for (size_t i = 0; i < entries.size(); ++i) {
    const json::Node named = node.at(entries, i);
    TRY_STATUS(named.object());
    TRY(const auto name, named["name"].find_string());
    TRY(const auto text, named["template"].find_string());
    if (name == "default" && text) return std::string(*text);
  }
  return std::string();
}

}  // namespace

Result<HfTokenizerConfig> hf_tokenizer_config(std::string_view text) {
  TRY(const json::value document, json::parse_object(text));
  const json::Node fields(document);
  HfTokenizerConfig config;
  TRY(config.chat_template, read_template(fields["chat_template"]));
  TRY(config.bos_token, read_token(fields["bos_token"]));
  TRY(config.eos_token, read_token(fields["eos_token"]));
  const json::object* decoder = nullptr;
  if (const json::Node node = fields["added_tokens_decoder"]; !node.is_absent()) {
    TRY(decoder, node.object());
  }
  config.bos_token_id = find_id(decoder, config.bos_token);
  config.eos_token_id = find_id(decoder, config.eos_token);
  TRY(config.adds_bos, fields["add_bos_token"].flag(false));
  return config;
}

}  // namespace dynamo::model
