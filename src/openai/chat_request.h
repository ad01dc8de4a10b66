// A chat completion as asked for: messages for the template, and parameters.
// Threads: values and pure functions.
#pragma once

#include <optional>

#include <boost/json/object.hpp>

#include "openai/request_params.h"

namespace dynamo::openai {

struct ChatRequest {
  RequestParams params;
  // What the chat template sees: messages, tools, add_generation_prompt, and chat_template_kwargs.
  boost::json::object variables;
  bool wants_logprobs = false;
  uint32_t top_logprobs = 0;
};

// Checks every member of `body`. Returns: the first error, or none and `out` filled. Takes what it needs out of `body`.
std::optional<ApiError> parse_chat_request(boost::json::object* body, uint32_t max_choices, ChatRequest* out);

}  // namespace dynamo::openai
