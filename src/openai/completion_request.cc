#include "openai/completion_request.h"

#include <fmt/format.h>

#include <limits>

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/string.hpp>

namespace dynamo::openai {
namespace {

namespace json = boost::json;

std::vector<TokenId> read_token_ids(const json::array& ids, const std::string& path, RequestError* error) {
  std::vector<TokenId> tokens;
  tokens.reserve(ids.size());
  for (size_t i = 0; i < ids.size(); ++i) {
    // The path is made only where it is needed: a prompt may have a million ids.
    const auto id = whole_number(ids[i]);
    if (id && *id >= 0 && *id <= std::numeric_limits<TokenId>::max()) {
      tokens.push_back(static_cast<TokenId>(*id));
      continue;
    }
    read_integer(ids[i], fmt::format("{}[{}]", path, i), 0, std::numeric_limits<TokenId>::max(), error);
    break;
  }
  return tokens;
}

void read_prompts(ObjectReader* body, const RequestLimits& limits, CompletionRequest* out) {
  const json::value* prompt = body->value("prompt");
  RequestError& error = body->error();
  if (!prompt) return error.missing("prompt");
  if (const json::string* text = prompt->if_string()) {
    out->prompts.emplace_back(std::string(text->data(), text->size()));
    return;
  }
  const json::array* list = prompt->if_array();
  if (!list)
    return error.wrong_type("prompt", "a string, an array of strings, of token ids, or of arrays of token ids",
                            *prompt);
  if (list->empty()) return error.wrong_value("prompt", "at least one element", "an empty array");
  if (list->front().is_number()) {
    out->prompts.emplace_back(read_token_ids(*list, "prompt", &error));
    return;
  }
  out->is_list = true;
  if (list->size() > limits.max_generations) {
    return error.wrong_value("prompt", fmt::format("at most {} prompts", limits.max_generations),
                             fmt::format("{}", list->size()));
  }
  const bool is_text = list->front().is_string();
  for (size_t i = 0; i < list->size(); ++i) {
    const json::value& one = (*list)[i];
    const std::string path = fmt::format("prompt[{}]", i);
    if (is_text && one.is_string()) {
      out->prompts.emplace_back(std::string(one.get_string().data(), one.get_string().size()));
    } else if (!is_text && one.is_array()) {
      out->prompts.emplace_back(read_token_ids(one.get_array(), path, &error));
    } else {
      return error.wrong_type(path, is_text ? "a string, as the first" : "an array of token ids", one);
    }
  }
}

}  // namespace

std::optional<ApiError> parse_completion_request(std::string_view body, const RequestLimits& limits,
                                                 CompletionRequest* out) {
  std::optional<json::value> document;
  if (auto wrong = parse_body(body, limits.max_depth, &document)) return wrong;
  RequestError error;
  ObjectReader reader(document->get_object(), "", &error);
  out->options = read_options(&reader, limits);
  read_prompts(&reader, limits, out);
  if (out->prompts.size() * out->options.n > limits.max_generations) {
    error.wrong_value("n", fmt::format("at most {} answers for all prompts together", limits.max_generations),
                      fmt::format("{}", out->prompts.size() * out->options.n));
  }
  if (const auto logprobs = reader.integer("logprobs", 0, 5)) out->options.logprobs = static_cast<uint32_t>(*logprobs);
  out->echoes = reader.boolean("echo").value_or(false);
  if (out->echoes && out->options.logprobs)
    error.unsupported("echo", "The prompt's own logprobs are not computed; ask for one or the other.");
  const auto best_of = reader.integer("best_of", 1, limits.max_choices);
  if (best_of && *best_of != out->options.n)
    error.unsupported("best_of", "All answers are returned: it must equal 'n'.");
  reader.only("suffix", "", "Text is not inserted before a given end here.");
  reader.refuse_unknown();
  return error.take();
}

}  // namespace dynamo::openai
