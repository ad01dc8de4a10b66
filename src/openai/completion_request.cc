#include "openai/completion_request.h"

#include <fmt/format.h>

#include <boost/json.hpp>

#include <algorithm>
#include <limits>

namespace dynamo::openai {
namespace json = boost::json;
namespace {

constexpr size_t kMaxPrompts = 2048;

bool is_ids(const json::array& array) {
  return !array.empty() && array.front().is_number();
}

std::optional<std::vector<TokenId>> ids_of(const json::array& array) {
  std::vector<TokenId> ids;
  for (const json::value& id : array) {
    if (!id.is_int64() || id.get_int64() < 0 || id.get_int64() > std::numeric_limits<TokenId>::max())
      return std::nullopt;
    ids.push_back(static_cast<TokenId>(id.get_int64()));
  }
  return ids;
}

void add_prompt(ObjectReader* reader, const json::value& value, CompletionRequest* out) {
  const auto wrong = [&] {
    reader->fail("prompt",
                 "'prompt' must be a string, an array of strings, an array of token ids, or an array of those",
                 "invalid_type");
  };
  if (const json::string* text = value.if_string()) {
    out->prompts.emplace_back(std::string(text->data(), text->size()));
  } else if (const json::array* array = value.if_array(); array && is_ids(*array)) {
    auto ids = ids_of(*array);
    if (!ids) return wrong();
    out->prompts.emplace_back(std::move(*ids));
  } else {
    wrong();
  }
}

void read_prompts(ObjectReader* reader, CompletionRequest* out) {
  const json::value* prompt = reader->value("prompt");
  if (!prompt) return reader->fail("prompt", "'prompt' is missing", "missing_parameter");
  const json::array* list = prompt->if_array();
  if (!list || is_ids(*list)) return add_prompt(reader, *prompt, out);
  if (list->empty()) return reader->fail("prompt", "'prompt' is empty", "invalid_value");
  if (list->size() > kMaxPrompts)
    return reader->fail("prompt",
                        fmt::format("'prompt' holds {} prompts; at most {} are accepted", list->size(), kMaxPrompts));
  for (const json::value& one : *list) add_prompt(reader, one, out);
}

}  // namespace

std::optional<ApiError> parse_completion_request(json::object* body, uint32_t max_choices, CompletionRequest* out) {
  ObjectReader reader(body, "");
  out->params = read_params(&reader, max_choices);
  out->echoes = reader.boolean("echo").value_or(false);
  if (const auto logprobs = reader.integer("logprobs", 0, 5)) out->logprobs = static_cast<uint32_t>(*logprobs);
  if (out->echoes && out->logprobs)
    reader.fail("echo", "'echo' with 'logprobs' is not supported: prompts have no logprobs here",
                "unsupported_parameter");
  if (const auto best = reader.integer("best_of", 1, 1 << 20); best && *best != out->params.choices) {
    reader.fail("best_of", "'best_of' is not supported unless it equals 'n'", "unsupported_parameter");
  }
  for (const std::string_view name : {"suffix", "guided_json", "guided_regex", "guided_choice", "guided_grammar"}) {
    reader.refuse(name, "this server does not do it");
  }
  read_prompts(&reader, out);
  return reader.finish();
}

}  // namespace dynamo::openai
