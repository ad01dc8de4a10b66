// A conversation as the client sends it, checked and brought into the form that chat templates expect.
// Threads: pure functions.  Private to the module.
#pragma once

#include "json/object_reader.h"

namespace dynamo::openai {

// Each message becomes an object with `role` and `content`, and `name`, `tool_calls`, `tool_call_id` and
// `reasoning_content` where given:
//   - the parts of a content are joined to one text, a line break between them; parts that are no text are refused
//   - the role developer, OpenAI's newer name for it, becomes system, which is what templates know
//   - a tool call's arguments, JSON in a string, become the object that they stand for
// Errors, kept in the reader's json::FirstProblem: the member at fault.
json::array read_messages(json::ObjectReader* body);

// The tools as they came, each checked to be a function with a name.
json::array read_tools(json::ObjectReader* body);

}  // namespace dynamo::openai
