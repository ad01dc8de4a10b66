#include "openai/chat_request.h"

#include "openai/chat_message.h"
#include "openai/request_body.h"

namespace dynamo::openai {
namespace {

void read_logprobs(json::ObjectReader* body, RequestOptions* options) {
  const bool is_asked = body->boolean("logprobs").value_or(false);
  const auto top = body->integer("top_logprobs", 0, 20);
  if (is_asked) options->logprobs = static_cast<uint32_t>(top.value_or(0));
  if (top && !is_asked) body->problem().wrong_value("top_logprobs", "it only with 'logprobs': true", "it without");
}

// Whether the tools are shown to the model.
bool read_tool_choice(json::ObjectReader* body) {
  const json::value* choice = body->value("tool_choice");
  if (!choice) return true;
  if (choice->is_string()) {
    const std::string_view text(choice->get_string().data(), choice->get_string().size());
    if (text == "auto" || text == "none") return text == "auto";
    if (text != "required") {
      body->problem().wrong_value("tool_choice", "'none', 'auto', 'required' or an object", json::quote(text));
      return false;
    }
  } else if (!choice->is_object()) {
    body->problem().wrong_type("tool_choice", "a string or an object", *choice);
    return false;
  }
  body->problem().unsupported("tool_choice", "A call of a tool cannot be forced here; use 'auto' or 'none'.");
  return false;
}

void read_response_format(json::ObjectReader* body) {
  const json::object* format = body->object("response_format");
  if (!format) return;
  json::ObjectReader reader(*format, "response_format", &body->problem());
  const std::string_view type = reader.required_string("type");
  if (type != "text") body->problem().unsupported("response_format", "Answers are of the type 'text' only.");
}

void read_modalities(json::ObjectReader* body) {
  const json::array* modalities = body->array("modalities");
  if (!modalities) return;
  for (const json::value& value : *modalities) {
    if (!value.is_string() || value.get_string() != "text") {
      return body->problem().unsupported("modalities", "Answers are text only.");
    }
  }
}

void read_template_values(json::ObjectReader* body, ChatRequest* request) {
  if (const auto effort = body->string("reasoning_effort")) {
    request->template_values["reasoning_effort"] = json::string_view(effort->data(), effort->size());
  }
  const json::object* values = body->object("chat_template_kwargs");
  if (!values) return;
  for (const char* name : {"messages", "tools", "add_generation_prompt", "continue_final_message"}) {
    if (values->contains(name)) {
      body->problem().unsupported(std::string("chat_template_kwargs.") + name,
                                  "It is a parameter of the request itself.");
    }
  }
  for (const auto& member : *values) request->template_values.insert_or_assign(member.key(), member.value());
}

void read_generation_prompt(json::ObjectReader* body, ChatRequest* request) {
  const auto adds = body->boolean("add_generation_prompt");
  request->continues_final_message = body->boolean("continue_final_message").value_or(false);
  request->adds_generation_prompt = adds.value_or(true);
  if (!request->continues_final_message || body->problem().has_value()) return;
  if (request->adds_generation_prompt) {
    return body->problem().wrong_value("continue_final_message", "it only with 'add_generation_prompt': false",
                                       "it without");
  }
  const json::value& content = request->messages.back().at("content");
  if (!content.is_string()) {
    body->problem().wrong_value("continue_final_message", "a last message with a text to continue", "one without");
  }
}

void read_refused(json::ObjectReader* body) {
  body->refuse("functions", "It is deprecated; use 'tools'.");
  body->refuse("function_call", "It is deprecated; use 'tool_choice'.");
  body->refuse("audio", "Answers are text only.");
  body->refuse("web_search_options", "This server does not search.");
  body->only("verbosity", "medium", "The length of answers cannot be set; 'medium' asks for nothing.");
}

}  // namespace

std::optional<ApiError> parse_chat_request(std::string_view body, const RequestLimits& limits, ChatRequest* out) {
  std::optional<json::value> document;
  if (auto wrong = parse_body(body, limits.max_depth, &document)) return wrong;
  json::FirstProblem problem;
  json::ObjectReader reader(document->get_object(), "", &problem);
  out->options = read_options(&reader, limits);
  const auto max_tokens = reader.integer("max_completion_tokens", 1, std::numeric_limits<uint32_t>::max());
  if (max_tokens) out->options.max_tokens = static_cast<uint32_t>(*max_tokens);
  read_logprobs(&reader, &out->options);
  out->messages = read_messages(&reader);
  out->tools = read_tools(&reader);
  if (!read_tool_choice(&reader)) out->tools.clear();
  reader.boolean("parallel_tool_calls");
  reader.object("prediction");  // a hint for speed
  read_response_format(&reader);
  read_modalities(&reader);
  read_template_values(&reader, out);
  read_generation_prompt(&reader, out);
  read_refused(&reader);
  reader.refuse_unknown(kUnknownMember);
  return to_api_error(problem);
}

}  // namespace dynamo::openai
