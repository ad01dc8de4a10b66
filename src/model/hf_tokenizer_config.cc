#include <charconv>

#include <fmt/format.h>
#include <boost/json/array.hpp>

#include "model/hf_config.h"
#include "model/json_fields.h"

namespace dynamo::model {
namespace {

namespace json = boost::json;

// A token is written as its text or as an object with `content`.
Result<std::optional<std::string>> read_token(const JsonFields& fields, const char* key) {
  const json::value* value = fields.find(key);
  if (value != nullptr && value->is_object()) return JsonFields(value->get_object()).find_string("content");
  return fields.find_string(key);
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
Result<std::string> read_template(const JsonFields& fields) {
  const json::value* value = fields.find("chat_template");
  if (value == nullptr || !value->is_array()) {
    TRY(auto one, fields.find_string("chat_template"));
    return std::move(one).value_or("");
  }
  for (const json::value& entry : value->get_array()) {
    if (!entry.is_object()) return corrupt("field 'chat_template' holds an entry that is no object");
    const JsonFields named(entry.get_object());
    TRY(const auto name, named.find_string("name"));
    TRY(auto text, named.find_string("template"));
    if (name == "default" && text) return std::move(*text);
  }
  return std::string();
}

}  // namespace

Result<HfTokenizerConfig> hf_tokenizer_config(std::string_view text) {
  TRY(const json::object object, parse_json_object(text));
  const JsonFields fields(object);
  HfTokenizerConfig config;
  TRY(config.chat_template, read_template(fields));
  TRY(config.bos_token, read_token(fields, "bos_token"));
  TRY(config.eos_token, read_token(fields, "eos_token"));
  TRY(const json::object* decoder, fields.find_object("added_tokens_decoder"));
  config.bos_token_id = find_id(decoder, config.bos_token);
  config.eos_token_id = find_id(decoder, config.eos_token);
  TRY(const auto adds_bos, fields.find_bool("add_bos_token"));
  config.adds_bos = adds_bos.value_or(false);
  return config;
}

}  // namespace dynamo::model
