#include "openai/preparation.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/random.h"
#include "openai/chat_request.h"
#include "openai/completion_request.h"
#include "openai/request_body.h"

namespace dynamo::openai {
namespace {

constexpr uint32_t kDefaultCompletionTokens = 16;  // OpenAI's

ApiError too_long(const ServedModel& model, size_t prompt_tokens, std::optional<uint32_t> max_tokens,
                  const std::string& param) {
  ApiError error;
  error.param = param;
  error.error_code = "context_length_exceeded";
  error.message = fmt::format("This model's maximum context length is {} tokens. However, ", model.card.context_length);
  if (max_tokens) {
    error.message += fmt::format(
        "you requested {} tokens ({} in the prompt, {} in the completion). Please reduce the length of either.",
        prompt_tokens + *max_tokens, prompt_tokens, *max_tokens);
  } else {
    error.message += fmt::format(
        "your prompt has {} tokens, and the completion needs at least one. Please reduce its length.", prompt_tokens);
  }
  return error;
}

// Checks the prompt's length and settles max_tokens: what the client asked for, or the endpoint's default within what is left.
std::optional<ApiError> fit(const PreparedRequest& request, const std::string& param, PreparedPrompt* prompt) {
  const RequestOptions& options = request.options;
  const uint64_t context = request.model->card.context_length;
  const uint64_t used = prompt->tokens.size();
  if (used == 0) return ApiError{Code::kInvalid, "The prompt is empty: it has no tokens.", param, "invalid_value"};
  if (used >= context) return too_long(*request.model, used, std::nullopt, param);
  if (options.max_tokens && used + *options.max_tokens > context)
    return too_long(*request.model, used, options.max_tokens, param);
  const auto left = static_cast<uint32_t>(context - used);
  const uint32_t usual = request.endpoint == Endpoint::kChat ? left : std::min(left, kDefaultCompletionTokens);
  prompt->max_tokens = options.max_tokens.value_or(usual);
  if (options.min_tokens <= prompt->max_tokens) return std::nullopt;
  json::FirstProblem problem;
  problem.wrong_value("min_tokens", fmt::format("at most 'max_tokens', {}", prompt->max_tokens),
                      fmt::format("{}", options.min_tokens));
  return to_api_error(problem);
}

// A text that cannot fit the context, told by its length alone: tokenizing megabytes only to refuse them would cost a second.
std::optional<ApiError> fit_text(const ServedModel& model, const std::string& text, const std::string& param) {
  const size_t least = model.tokenizer->least_tokens(text.size());
  if (least < model.card.context_length) return std::nullopt;
  ApiError error;
  error.param = param;
  error.error_code = "context_length_exceeded";
  error.message = fmt::format(
      "This model's maximum context length is {} tokens. However, your prompt of {} bytes has at least {}. Please "
      "reduce its length.",
      model.card.context_length, text.size(), least);
  return error;
}

json::object template_variables(ChatRequest* request, const ModelCard& card) {
  json::object variables = std::move(request->template_values);
  variables["messages"] = std::move(request->messages);
  if (request->tools.empty()) {
    variables["tools"] = nullptr;
  } else {
    variables["tools"] = std::move(request->tools);
  }
  if (!variables.contains("documents")) variables["documents"] = nullptr;
  variables["add_generation_prompt"] = request->adds_generation_prompt;
  if (!variables.contains("bos_token")) variables["bos_token"] = card.bos_token;
  if (!variables.contains("eos_token")) variables["eos_token"] = card.eos_token;
  return variables;
}

// Text that no client's text holds, since nobody can guess it. Of digits: no template changes their case or escapes them.
std::string unguessable_mark() {
  return fmt::format("{:020}{:020}", random_number(), random_number());
}

// A prompt that ends behind the last message's text, as the template shows it, so that the model goes on with it. The text may stand
// anywhere else too, and the template may trim or escape it; so a mark behind it says what comes after it, and that is cut off.
// Errors: as of render(); kNotFound (the template does not show the message's end).
Result<std::string> render_to_continue(const text::ChatTemplate& chat_template, json::object variables,
                                       std::chrono::system_clock::time_point now) {
  TRY(std::string prompt, chat_template.render(variables, now));
  json::string& content = variables.at("messages").as_array().back().as_object().at("content").as_string();
  const std::string text(content);
  const std::string mark = unguessable_mark();
  content.append(mark);
  TRY(std::string marked, chat_template.render(variables, now));
  const size_t at = marked.rfind(mark);
  if (at == std::string::npos) return not_found("the chat template does not show the end of the last message");
  const std::string_view after = std::string_view(marked).substr(at + mark.size());
  std::string before = marked.substr(0, at);
  for (size_t other = before.find(mark); other != std::string::npos; other = before.find(mark, other))
    before.erase(other, mark.size());  // the template shows the text more than once
  if (prompt.ends_with(after)) prompt.resize(prompt.size() - after.size());
  // What the template trims stood before the mark, and is all that the two may differ in. Else it shows an empty text in another
  // way, or not at all: then the one with the mark counts.
  const bool is_trimmed_only = before.starts_with(prompt) && text.ends_with(before.substr(prompt.size()));
  return is_trimmed_only ? std::move(prompt) : std::move(before);
}

std::optional<ApiError> prepare_chat(ChatRequest request, std::chrono::system_clock::time_point now,
                                     PreparedRequest* out) {
  const ServedModel& model = *out->model;
  if (!model.chat_template) {
    return ApiError{Code::kUnsupported,
                    fmt::format("The model '{}' has no chat template; use /v1/completions.", model.card.name), "model",
                    ""};
  }
  json::object variables = template_variables(&request, model.card);
  auto text = request.continues_final_message ? render_to_continue(*model.chat_template, std::move(variables), now)
                                              : model.chat_template->render(variables, now);
  if (!text.is_ok() && text.status().code() == Code::kNotFound) {
    return ApiError{Code::kInvalid,
                    "The chat template does not show the last message's end, so it cannot be continued.",
                    "continue_final_message", "invalid_value"};
  }
  if (!text.is_ok()) {
    ApiError error = to_api_error(text.status().with("the chat template refused the messages"));
    if (error.code == Code::kExhausted) error.code = Code::kInvalid;  // the conversation's size, not the server's load
    error.param = "messages";
    return error;
  }
  if (auto wrong = fit_text(model, *text, "messages")) return wrong;
  out->prompts.resize(1);
  out->prompts[0].tokens = model.tokenizer->encode(*text);
  return fit(*out, "messages", &out->prompts[0]);
}

std::optional<ApiError> take_token_ids(std::vector<TokenId> tokens, const ServedModel& model, const std::string& param,
                                       PreparedPrompt* out) {
  const auto unknown =
      std::find_if(tokens.begin(), tokens.end(), [&](TokenId id) { return id >= model.card.vocab_size; });
  if (unknown != tokens.end()) {
    json::FirstProblem problem;
    problem.wrong_value(fmt::format("{}[{}]", param, unknown - tokens.begin()),
                        fmt::format("a token id below the vocabulary's size, {}", model.card.vocab_size),
                        fmt::format("{}", *unknown));
    return to_api_error(problem);
  }
  out->tokens = std::move(tokens);
  return std::nullopt;
}

std::optional<ApiError> prepare_completion(CompletionRequest request, PreparedRequest* out) {
  const ServedModel& model = *out->model;
  out->prompts.resize(request.prompts.size());
  for (size_t i = 0; i < request.prompts.size(); ++i) {
    PreparedPrompt& prompt = out->prompts[i];
    const std::string param = request.is_list ? fmt::format("prompt[{}]", i) : "prompt";
    if (auto* ids = std::get_if<std::vector<TokenId>>(&request.prompts[i])) {
      if (auto wrong = take_token_ids(std::move(*ids), model, param, &prompt)) return wrong;
      if (request.echoes) prompt.echo = model.tokenizer->decode(prompt.tokens, out->options.skips_special_tokens);
    } else {
      auto& text = std::get<std::string>(request.prompts[i]);
      if (auto wrong = fit_text(model, text, param)) return wrong;
      text::Tokenizer::EncodeOptions options;
      options.adds_special = true;
      prompt.tokens = model.tokenizer->encode(text, options);
      if (request.echoes) prompt.echo = std::move(text);
    }
    if (auto wrong = fit(*out, param, &prompt)) return wrong;
  }
  return std::nullopt;
}

std::optional<ApiError> find_model(const ModelDirectory& models, PreparedRequest* out) {
  out->model = models.find(out->options.model);
  if (!out->model) return unknown_model(out->options.model, models);
  return check_token_ids(out->options, out->model->card.vocab_size);
}

}  // namespace

ApiError unknown_model(std::string_view name, const ModelDirectory& models) {
  if (!models.is_warm())
    return ApiError{Code::kUnavailable,
                    fmt::format("The model {} is not known yet: this frontend is still finding its workers. Ask again.",
                                json::quote(name)),
                    "", ""};
  return ApiError{Code::kNotFound, fmt::format("The model {} does not exist.", json::quote(name)), "model",
                  "model_not_found"};
}

std::optional<ApiError> prepare(Endpoint endpoint, std::string_view body, const RequestLimits& limits,
                                const ModelDirectory& models, std::chrono::system_clock::time_point now,
                                PreparedRequest* out) {
  out->endpoint = endpoint;
  if (endpoint == Endpoint::kChat) {
    ChatRequest request;
    const auto wrong = parse_chat_request(body, limits, &request);
    out->options = std::move(request.options);
    if (wrong) return wrong;
    if (auto missing = find_model(models, out)) return missing;
    return prepare_chat(std::move(request), now, out);
  }
  CompletionRequest request;
  const auto wrong = parse_completion_request(body, limits, &request);
  out->options = std::move(request.options);
  if (wrong) return wrong;
  if (auto missing = find_model(models, out)) return missing;
  return prepare_completion(std::move(request), out);
}

GenerateRequest generate_request(const PreparedRequest& prepared, uint32_t choice, const std::string& id,
                                 Time deadline) {
  const PreparedPrompt& prompt = prepared.prompt_of(choice);
  GenerateRequest request = to_generate_request(prepared.options, prepared.model->card, choice % prepared.options.n);
  request.id = prepared.choices() == 1 ? id : fmt::format("{}-{}", id, choice);
  request.prompt = prompt.tokens;
  request.stop.max_tokens = prompt.max_tokens;
  request.deadline = deadline;
  return request;
}

}  // namespace dynamo::openai
