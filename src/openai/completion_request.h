// POST /v1/completions: its body, read and checked.
// Threads: values and pure functions.  Private to the module.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "openai/request_options.h"

namespace dynamo::openai {

using CompletionPrompt = std::variant<std::string, std::vector<TokenId>>;

struct CompletionRequest {
  RequestOptions options;
  std::vector<CompletionPrompt> prompts;  // not empty
  bool is_list = false;                   // the client sent several, if only one: errors name it by index
  bool echoes = false;
};

// Returns: what is wrong with the body, or none and the request in `out`.
std::optional<ApiError> parse_completion_request(std::string_view body, const RequestLimits& limits,
                                                 CompletionRequest* out);

}  // namespace dynamo::openai
