#include "openai/chat_request.h"

#include <fmt/format.h>

#include <boost/json.hpp>

#include <algorithm>
#include <array>

namespace dynamo::openai {
namespace json = boost::json;
namespace {

constexpr std::array<std::string_view, 5> kRoles = {"system", "developer", "user", "assistant", "tool"};

// Content parts of type text; anything else is refused by its type.
void check_parts(ObjectReader* message, const json::array& parts) {
  for (size_t i = 0; i < parts.size(); ++i) {
    const std::string name = fmt::format("content[{}]", i);
    const json::object* part = parts[i].if_object();
    const json::value* type = part ? part->if_contains("type") : nullptr;
    if (!type || !type->is_string())
      return message->fail(name, fmt::format("'{}' must be an object with a 'type'", message->path_of(name)),
                           "invalid_type");
    if (type->get_string() != "text") {
      return message->fail(
          name,
          fmt::format("content of type '{}' is not supported; only text is", std::string_view(type->get_string())),
          "unsupported_content");
    }
    const json::value* text = part->if_contains("text");
    if (!text || !text->is_string())
      return message->fail(name + ".text", fmt::format("'{}.text' must be a string", message->path_of(name)),
                           "invalid_type");
  }
}

void check_content(ObjectReader* message, bool is_optional) {
  const json::value* content = message->value("content");
  if (!content) {
    if (!is_optional)
      message->fail("content", fmt::format("'{}' is missing", message->path_of("content")), "missing_parameter");
  } else if (const json::array* parts = content->if_array()) {
    check_parts(message, *parts);
  } else if (!content->is_string()) {
    message->fail("content",
                  fmt::format("'{}' must be a string or an array of parts, not {}", message->path_of("content"),
                              kind_name(*content)),
                  "invalid_type");
  }
}

void check_tool_calls(ObjectReader* message) {
  const json::array* calls = message->array("tool_calls");
  if (!calls) return;
  for (size_t i = 0; i < calls->size(); ++i) {
    const std::string name = fmt::format("tool_calls[{}]", i);
    const json::object* call = (*calls)[i].if_object();
    const json::value* function = call ? call->if_contains("function") : nullptr;
    const json::value* called =
        function && function->is_object() ? function->get_object().if_contains("name") : nullptr;
    if (!called || !called->is_string()) {
      return message->fail(name, fmt::format("'{}' must be an object with 'function.name'", message->path_of(name)),
                           "invalid_type");
    }
  }
}

std::optional<ApiError> check_message(const json::value& value, size_t index) {
  const std::string path = fmt::format("messages[{}]", index);
  const json::object* object = value.if_object();
  if (!object)
    return ApiError{400, fmt::format("'{}' must be an object, not {}", path, kind_name(value)), path, "invalid_type"};
  ObjectReader message(object, path + ".");
  const std::string role = message.text("role").value_or("");
  if (std::ranges::find(kRoles, role) == kRoles.end()) {
    message.fail("role",
                 fmt::format("'{}.role' is '{}'; it must be system, developer, user, assistant or tool", path, role),
                 "invalid_value");
  }
  const bool has_calls = object->contains("tool_calls");
  check_content(&message, role == "assistant" && has_calls);
  check_tool_calls(&message);
  static_cast<void>(message.text("reasoning_content"));
  static_cast<void>(message.text("name"));
  static_cast<void>(message.text("tool_call_id"));
  message.ignore({"refusal", "annotations", "audio", "function_call"});
  return message.finish();
}

void read_messages(ObjectReader* reader, json::object* body, ChatRequest* out) {
  const json::array* messages = reader->array("messages");
  if (!messages) return reader->fail("messages", "'messages' is missing", "missing_parameter");
  if (messages->empty())
    return reader->fail("messages", "'messages' is empty; at least one message is needed", "invalid_value");
  for (size_t i = 0; i < messages->size(); ++i) {
    if (const auto error = check_message((*messages)[i], i))
      return reader->fail(error->param, error->message, error->code);
  }
  out->variables["messages"] = std::move((*body)["messages"]);
}

void read_tools(ObjectReader* reader, json::object* body, ChatRequest* out) {
  const json::array* tools = reader->array("tools");
  const json::value* choice = reader->value("tool_choice");
  if (choice && (!choice->is_string() || (choice->get_string() != "none" && choice->get_string() != "auto"))) {
    reader->fail("tool_choice", "'tool_choice' may be \"none\" or \"auto\"; calls cannot be forced here",
                 "unsupported_parameter");
  }
  reader->ignore({"parallel_tool_calls"});
  if (!tools || tools->empty() || (choice && choice->is_string() && choice->get_string() == "none")) return;
  for (const json::value& tool : *tools) {
    if (!tool.is_object()) return reader->fail("tools", "'tools' must hold objects", "invalid_type");
  }
  out->variables["tools"] = std::move((*body)["tools"]);
}

void read_response_format(ObjectReader* reader) {
  const json::object* format = reader->object("response_format");
  if (!format) return;
  const json::value* type = format->if_contains("type");
  if (!type || !type->is_string() || type->get_string() != "text") {
    reader->fail("response_format",
                 "'response_format' may only be {\"type\": \"text\"}; guided output is not supported here",
                 "unsupported_parameter");
  }
}

}  // namespace

std::optional<ApiError> parse_chat_request(json::object* body, uint32_t max_choices, ChatRequest* out) {
  ObjectReader reader(body, "");
  out->params = read_params(&reader, max_choices);
  if (const auto most = reader.integer("max_completion_tokens", 1, INT32_MAX)) out->params.max_tokens = *most;
  out->wants_logprobs = reader.boolean("logprobs").value_or(false);
  if (const auto top = reader.integer("top_logprobs", 0, 20)) {
    out->top_logprobs = static_cast<uint32_t>(*top);
    if (!out->wants_logprobs) reader.fail("top_logprobs", "'top_logprobs' goes with 'logprobs': true", "invalid_value");
  }
  out->variables["add_generation_prompt"] = reader.boolean("add_generation_prompt").value_or(true);
  if (const json::object* extra = reader.object("chat_template_kwargs")) {
    for (const auto& [key, value] : *extra) out->variables[key] = value;
  }
  read_response_format(&reader);
  read_tools(&reader, body, out);
  for (const std::string_view name : {"functions", "function_call"})
    reader.refuse(name, "use 'tools' and 'tool_choice'");
  for (const std::string_view name :
       {"audio", "modalities", "prediction", "web_search_options", "reasoning_effort", "verbosity",
        "continue_final_message", "guided_json", "guided_regex", "guided_choice", "guided_grammar"}) {
    reader.refuse(name, "this server does not do it");
  }
  read_messages(&reader, body, out);
  return reader.finish();
}

}  // namespace dynamo::openai
