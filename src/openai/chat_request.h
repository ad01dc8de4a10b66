// POST /v1/chat/completions: its body, read and checked.
// Threads: values and pure functions.  Private to the module.
#pragma once

#include <optional>
#include <string_view>

#include "json/types.h"
#include "openai/request_options.h"

namespace dynamo::openai {

struct ChatRequest {
  RequestOptions options;
  json::array messages;          // as read_messages leaves them; not empty
  json::array tools;             // empty: none, or none to be used
  json::object template_values;  // the client's own variables of the template
  bool adds_generation_prompt = true;
  bool continues_final_message = false;
};

// Returns: what is wrong with the body, or none and the request in `out`.
std::optional<ApiError> parse_chat_request(std::string_view body, const RequestLimits& limits, ChatRequest* out);

}  // namespace dynamo::openai
