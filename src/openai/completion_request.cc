#include "openai/completion_request.h"

#include <fmt/format.h>

#include <limits>

#include "json/read.h"
#include "openai/request_body.h"

namespace dynamo::openai {
namespace {

std::vector<TokenId> read_token_ids(const json::array& ids, const std::string& path, json::FirstProblem* problem) {
  std::vector<TokenId> tokens;
  tokens.reserve(ids.size());
  for (size_t i = 0; i < ids.size(); ++i) {
    // The path is made only where it is needed: a prompt may have a million ids.
    const auto id = json::whole_number(ids[i]);
    if (id && *id >= 0 && *id <= std::numeric_limits<TokenId>::max()) {
      tokens.push_back(static_cast<TokenId>(*id));
      continue;
    }
    json::read_integer(ids[i], fmt::format("{}[{}]", path, i), 0, std::numeric_limits<TokenId>::max(), problem);
    break;
  }
  return tokens;
}

void read_prompts(json::ObjectReader* body, const RequestLimits& limits, CompletionRequest* out) {
  const json::value* prompt = body->value("prompt");
  json::FirstProblem& problem = body->problem();
  if (!prompt) return problem.missing("prompt");
  if (const json::string* text = prompt->if_string()) {
    out->prompts.emplace_back(std::string(text->data(), text->size()));
    return;
  }
  const json::array* list = prompt->if_array();
  if (!list)
    return problem.wrong_type("prompt", "a string, an array of strings, of token ids, or of arrays of token ids",
                              *prompt);
  if (list->empty()) return problem.wrong_value("prompt", "at least one element", "an empty array");
  if (list->front().is_number()) {
    out->prompts.emplace_back(read_token_ids(*list, "prompt", &problem));
    return;
  }
  out->is_list = true;
  if (list->size() > limits.max_generations) {
    return problem.wrong_value("prompt", fmt::format("at most {} prompts", limits.max_generations),
                               fmt::format("{}", list->size()));
  }
  const bool is_text = list->front().is_string();
  for (size_t i = 0; i < list->size(); ++i) {
    const json::value& prompt = (*list)[i];
    const std::string path = fmt::format("prompt[{}]", i);
    if (is_text && prompt.is_string()) {
      out->prompts.emplace_back(std::string(prompt.get_string().data(), prompt.get_string().size()));
    } else if (!is_text && prompt.is_array()) {
      out->prompts.emplace_back(read_token_ids(prompt.get_array(), path, &problem));
    } else {
      return problem.wrong_type(path, is_text ? "a string, as the first" : "an array of token ids", prompt);
    }
  }
}

}  // namespace

std::optional<ApiError> parse_completion_request(std::string_view body, const RequestLimits& limits,
                                                 CompletionRequest* out) {
  std::optional<json::value> document;
  if (auto wrong = parse_body(body, limits.max_depth, &document)) return wrong;
  json::FirstProblem problem;
  json::ObjectReader reader(document->get_object(), "", &problem);
  out->options = read_options(&reader, limits);
  read_prompts(&reader, limits, out);
  if (out->prompts.size() * out->options.n > limits.max_generations) {
    problem.wrong_value("n", fmt::format("at most {} answers for all prompts together", limits.max_generations),
                        fmt::format("{}", out->prompts.size() * out->options.n));
  }
  if (const auto logprobs = reader.integer("logprobs", 0, 5)) out->options.logprobs = static_cast<uint32_t>(*logprobs);
  out->echoes = reader.boolean("echo").value_or(false);
  if (out->echoes && out->options.logprobs)
    problem.unsupported("echo", "The prompt's own logprobs are not computed; ask for one or the other.");
  const auto best_of = reader.integer("best_of", 1, limits.max_choices);
  if (best_of && *best_of != out->options.n)
    problem.unsupported("best_of", "All answers are returned: it must equal 'n'.");
  reader.only("suffix", "", "Text is not inserted before a given end here.");
  reader.refuse_unknown(kUnknownMember);
  return to_api_error(problem);
}

}  // namespace dynamo::openai
