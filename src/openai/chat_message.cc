#include "openai/chat_message.h"

#include <fmt/format.h>

#include "json/parse.h"
#include "openai/request_body.h"

namespace dynamo::openai {
namespace {

constexpr size_t kMaxTools = 1024;
constexpr uint32_t kMaxArgumentsDepth = 64;

json::string_view view(std::string_view text) {
  return {text.data(), text.size()};
}

// A message's role, as templates know it. Null if it is wrong.
const char* read_role(json::ObjectReader* message) {
  const std::string_view role = message->required_string("role");
  if (role == "developer") return "system";
  for (const char* known : {"system", "user", "assistant", "tool"}) {
    if (role == known) return known;
  }
  message->problem().wrong_value(message->path_of("role"), "one of system, developer, user, assistant and tool",
                                 json::quote(role));
  return nullptr;
}

// One part of a content, appended to `text`.
void append_part(const json::value& value, const std::string& path, json::FirstProblem* problem, json::string* text) {
  const json::object* object = value.if_object();
  if (!object) return problem->wrong_type(path, "an object", value);
  json::ObjectReader part(*object, path, problem);
  const std::string_view type = part.required_string("type");
  if (type != "text" && type != "refusal") {
    return problem->unsupported(part.path_of("type"),
                                fmt::format("This server takes text; it has no parts of type {}.", json::quote(type)));
  }
  text->append(view(part.required_string(type)));
  part.refuse_unknown(kUnknownMember);
}

// The content as one string; null if there is none.
json::value read_content(json::ObjectReader* message) {
  const json::value* content = message->value("content");
  if (!content) return nullptr;
  if (content->is_string()) return content->get_string();
  const std::string path = message->path_of("content");
  const json::array* parts = content->if_array();
  if (!parts) {
    message->problem().wrong_type(path, "a string or an array of parts", *content);
    return nullptr;
  }
  if (parts->empty()) {
    message->problem().wrong_value(path, "at least one part", "an empty array");
    return nullptr;
  }
  json::string text;
  for (size_t i = 0; i < parts->size(); ++i) {
    if (i > 0) text.push_back('\n');
    append_part((*parts)[i], fmt::format("{}[{}]", path, i), &message->problem(), &text);
  }
  return text;
}

// Templates write a call's arguments with `tojson`, so they need the object, not its text. What is not JSON, as a model
// may have written it, stays a text.
json::value parse_arguments(std::string_view text) {
  if (text.find_first_not_of(" \t\r\n") == std::string_view::npos) return json::object();
  const auto value = json::parse_object(text, {.max_depth = kMaxArgumentsDepth});
  return value.is_ok() ? *value : json::string(view(text));
}

json::value read_tool_call(const json::value& value, const std::string& path, json::FirstProblem* problem) {
  const json::object* object = value.if_object();
  if (!object) {
    problem->wrong_type(path, "an object", value);
    return nullptr;
  }
  json::ObjectReader call(*object, path, problem);
  json::object out;
  if (const auto id = call.string("id")) out["id"] = view(*id);
  out["type"] = "function";
  call.only("type", "function", "There are calls of functions only.");
  call.integer("index", 0, std::numeric_limits<int64_t>::max());  // left over from joining a stream's pieces
  const json::object* function = call.object("function");
  if (!function) problem->missing(call.path_of("function"));
  if (function) {
    json::ObjectReader reader(*function, call.path_of("function"), problem);
    json::object& made = out["function"].emplace_object();
    made["name"] = view(reader.required_string("name"));
    made["arguments"] = parse_arguments(reader.string("arguments").value_or(""));
    reader.refuse_unknown(kUnknownMember);
  }
  call.refuse_unknown(kUnknownMember);
  return out;
}

void read_tool_calls(json::ObjectReader* message, json::object* out) {
  const json::array* calls = message->array("tool_calls");
  if (!calls || calls->empty()) return;
  const std::string path = message->path_of("tool_calls");
  json::array& made = (*out)["tool_calls"].emplace_array();
  for (size_t i = 0; i < calls->size() && !message->problem().has_value(); ++i) {
    made.push_back(read_tool_call((*calls)[i], fmt::format("{}[{}]", path, i), &message->problem()));
  }
}

void read_assistant_members(json::ObjectReader* message, json::object* out) {
  read_tool_calls(message, out);
  if (const auto reasoning = message->string("reasoning_content")) out->emplace("reasoning_content", view(*reasoning));
  const auto refusal = message->string("refusal");
  if (refusal && out->at("content").is_null()) (*out)["content"] = view(*refusal);
  message->array("annotations");  // of an earlier answer: about it, not part of it
  message->refuse("audio", "This server takes text.");
  message->refuse("function_call", "It is deprecated; use 'tool_calls'.");
}

json::value read_message(const json::value& value, const std::string& path, json::FirstProblem* problem) {
  const json::object* object = value.if_object();
  if (!object) {
    problem->wrong_type(path, "an object", value);
    return nullptr;
  }
  json::ObjectReader message(*object, path, problem);
  const char* role = read_role(&message);
  if (!role) return nullptr;
  json::object out;
  out["role"] = role;
  out["content"] = read_content(&message);
  if (const auto name = message.string("name")) out["name"] = view(*name);
  const std::string_view known(role);
  if (known == "assistant") read_assistant_members(&message, &out);
  if (known == "tool") out["tool_call_id"] = view(message.required_string("tool_call_id"));
  if (out["content"].is_null() && !out.contains("tool_calls")) problem->missing(message.path_of("content"));
  message.refuse_unknown(kUnknownMember);
  return out;
}

}  // namespace

json::array read_messages(json::ObjectReader* body) {
  json::array out;
  if (!body->value("messages")) body->problem().missing(body->path_of("messages"));
  const json::array* messages = body->array("messages");
  if (!messages) return out;
  const std::string path = body->path_of("messages");
  if (messages->empty()) body->problem().wrong_value(path, "at least one message", "an empty array");
  out.reserve(messages->size());
  for (size_t i = 0; i < messages->size() && !body->problem().has_value(); ++i) {
    out.push_back(read_message((*messages)[i], fmt::format("{}[{}]", path, i), &body->problem()));
  }
  return out;
}

json::array read_tools(json::ObjectReader* body) {
  const json::array* tools = body->array("tools");
  if (!tools) return {};
  const std::string path = body->path_of("tools");
  if (tools->size() > kMaxTools) {
    body->problem().wrong_value(path, fmt::format("at most {} tools", kMaxTools), fmt::format("{}", tools->size()));
    return {};
  }
  for (size_t i = 0; i < tools->size(); ++i) {
    const std::string place = fmt::format("{}[{}]", path, i);
    const json::object* object = (*tools)[i].if_object();
    if (!object) {
      body->problem().wrong_type(place, "an object", (*tools)[i]);
      break;
    }
    json::ObjectReader tool(*object, place, &body->problem());
    tool.required_string("type");
    tool.only("type", "function", "There are tools of type 'function' only.");
    const json::object* function = tool.object("function");
    if (!function) {
      body->problem().missing(tool.path_of("function"));
      break;
    }
    json::ObjectReader reader(*function, tool.path_of("function"), &body->problem());
    reader.required_string("name");
    reader.string("description");
    reader.object("parameters");
  }
  return json::array(*tools, json::storage_ptr());
}

}  // namespace dynamo::openai
