// A text completion as asked for: prompts as text or token ids, and parameters.
// Threads: values and pure functions.
#pragma once

#include <optional>
#include <string>
#include <variant>
#include <vector>

#include <boost/json/object.hpp>

#include "openai/request_params.h"

namespace dynamo::openai {

using Prompt = std::variant<std::string, std::vector<TokenId>>;

struct CompletionRequest {
  RequestParams params;
  std::vector<Prompt> prompts;  // not empty
  bool echoes = false;
  std::optional<uint32_t> logprobs;
};

// As parse_chat_request.
std::optional<ApiError> parse_completion_request(boost::json::object* body, uint32_t max_choices,
                                                 CompletionRequest* out);

}  // namespace dynamo::openai
