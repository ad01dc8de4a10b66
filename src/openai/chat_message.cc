#include "openai/chat_message.h"

#include <fmt/format.h>

#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/string.hpp>

namespace dynamo::openai {
namespace {

namespace json = boost::json;

constexpr size_t kMaxTools = 1024;
constexpr uint32_t kMaxArgumentsDepth = 64;

json::string_view view(std::string_view text) {
  return {text.data(), text.size()};
}

// A message's role, as templates know it. Null if it is wrong.
const char* read_role(ObjectReader* message) {
  const auto role = message->required_string("role");
  if (!role) return nullptr;
  if (*role == "developer") return "system";
  for (const char* known : {"system", "user", "assistant", "tool"}) {
    if (*role == known) return known;
  }
  message->error().wrong_value(message->path_of("role"), "one of system, developer, user, assistant and tool",
                               quote(*role));
  return nullptr;
}

// One part of a content, appended to `text`.
void append_part(const json::value& value, const std::string& path, RequestError* error, json::string* text) {
  const json::object* object = value.if_object();
  if (!object) return error->wrong_type(path, "an object", value);
  ObjectReader part(*object, path, error);
  const auto type = part.required_string("type");
  if (!type) return;
  if (*type != "text" && *type != "refusal") {
    return error->unsupported(part.path_of("type"),
                              fmt::format("This server takes text; it has no parts of type {}.", quote(*type)));
  }
  const auto piece = part.required_string(*type);
  part.refuse_unknown();
  if (piece) text->append(view(*piece));
}

// The content as one string; null if there is none.
json::value read_content(ObjectReader* message) {
  const json::value* content = message->value("content");
  if (!content) return nullptr;
  if (content->is_string()) return content->get_string();
  const std::string path = message->path_of("content");
  const json::array* parts = content->if_array();
  if (!parts) {
    message->error().wrong_type(path, "a string or an array of parts", *content);
    return nullptr;
  }
  if (parts->empty()) {
    message->error().wrong_value(path, "at least one part", "an empty array");
    return nullptr;
  }
  json::string text;
  for (size_t i = 0; i < parts->size(); ++i) {
    if (i > 0) text.push_back('\n');
    append_part((*parts)[i], fmt::format("{}[{}]", path, i), &message->error(), &text);
  }
  return text;
}

// Templates write a call's arguments with `tojson`, so they need the object, not its text. What is not JSON, as a model
// may have written it, stays a text.
json::value parse_arguments(std::string_view text) {
  if (text.find_first_not_of(" \t\r\n") == std::string_view::npos) return json::object();
  json::parse_options options;
  options.max_depth = kMaxArgumentsDepth;
  boost::system::error_code error;
  json::value value = json::parse(view(text), error, {}, options);
  if (error || !value.is_object()) return json::string(view(text));
  return value;
}

json::value read_tool_call(const json::value& value, const std::string& path, RequestError* error) {
  const json::object* object = value.if_object();
  if (!object) {
    error->wrong_type(path, "an object", value);
    return nullptr;
  }
  ObjectReader call(*object, path, error);
  json::object out;
  if (const auto id = call.string("id")) out["id"] = view(*id);
  out["type"] = "function";
  call.only("type", "function", "There are calls of functions only.");
  call.integer("index", 0, std::numeric_limits<int64_t>::max());  // left over from joining a stream's pieces
  const json::object* function = call.object("function");
  if (!function) error->missing(call.path_of("function"));
  if (function) {
    ObjectReader reader(*function, call.path_of("function"), error);
    json::object& made = out["function"].emplace_object();
    made["name"] = view(reader.required_string("name").value_or(""));
    made["arguments"] = parse_arguments(reader.string("arguments").value_or(""));
    reader.refuse_unknown();
  }
  call.refuse_unknown();
  return out;
}

void read_tool_calls(ObjectReader* message, json::object* out) {
  const json::array* calls = message->array("tool_calls");
  if (!calls || calls->empty()) return;
  const std::string path = message->path_of("tool_calls");
  json::array& made = (*out)["tool_calls"].emplace_array();
  for (size_t i = 0; i < calls->size() && !message->error().has_value(); ++i) {
    made.push_back(read_tool_call((*calls)[i], fmt::format("{}[{}]", path, i), &message->error()));
  }
}

void read_assistant_members(ObjectReader* message, json::object* out) {
  read_tool_calls(message, out);
  if (const auto reasoning = message->string("reasoning_content")) out->emplace("reasoning_content", view(*reasoning));
  const auto refusal = message->string("refusal");
  if (refusal && out->at("content").is_null()) (*out)["content"] = view(*refusal);
  message->array("annotations");  // of an earlier answer: about it, not part of it
  message->refuse("audio", "This server takes text.");
  message->refuse("function_call", "It is deprecated; use 'tool_calls'.");
}

json::value read_message(const json::value& value, const std::string& path, RequestError* error) {
  const json::object* object = value.if_object();
  if (!object) {
    error->wrong_type(path, "an object", value);
    return nullptr;
  }
  ObjectReader message(*object, path, error);
  const char* role = read_role(&message);
  if (!role) return nullptr;
  json::object out;
  out["role"] = role;
  out["content"] = read_content(&message);
  if (const auto name = message.string("name")) out["name"] = view(*name);
  const std::string_view known(role);
  if (known == "assistant") read_assistant_members(&message, &out);
  if (known == "tool") out["tool_call_id"] = view(message.required_string("tool_call_id").value_or(""));
  if (out["content"].is_null() && !out.contains("tool_calls")) error->missing(message.path_of("content"));
  message.refuse_unknown();
  return out;
}

}  // namespace

json::array read_messages(ObjectReader* body) {
  json::array out;
  if (!body->value("messages")) body->error().missing(body->path_of("messages"));
  const json::array* messages = body->array("messages");
  if (!messages) return out;
  const std::string path = body->path_of("messages");
  if (messages->empty()) body->error().wrong_value(path, "at least one message", "an empty array");
  out.reserve(messages->size());
  for (size_t i = 0; i < messages->size() && !body->error().has_value(); ++i) {
    out.push_back(read_message((*messages)[i], fmt::format("{}[{}]", path, i), &body->error()));
  }
  return out;
}

json::array read_tools(ObjectReader* body) {
  const json::array* tools = body->array("tools");
  if (!tools) return {};
  const std::string path = body->path_of("tools");
  if (tools->size() > kMaxTools) {
    body->error().wrong_value(path, fmt::format("at most {} tools", kMaxTools), fmt::format("{}", tools->size()));
    return {};
  }
  for (size_t i = 0; i < tools->size(); ++i) {
    const std::string place = fmt::format("{}[{}]", path, i);
    const json::object* object = (*tools)[i].if_object();
    if (!object) {
      body->error().wrong_type(place, "an object", (*tools)[i]);
      break;
    }
    ObjectReader tool(*object, place, &body->error());
    tool.required_string("type");
    tool.only("type", "function", "There are tools of type 'function' only.");
    const json::object* function = tool.object("function");
    if (!function) {
      body->error().missing(tool.path_of("function"));
      break;
    }
    ObjectReader reader(*function, tool.path_of("function"), &body->error());
    reader.required_string("name");
    reader.string("description");
    reader.object("parameters");
  }
  return json::array(*tools, json::storage_ptr());
}

}  // namespace dynamo::openai
