// What a client is told when its request cannot be served: OpenAI's error object, and the one table from codes to HTTP.
// Threads: values and pure functions.  Private to the module.
#pragma once

#include <string>

#include "base/status.h"
#include "http/message.h"

namespace dynamo::openai {

struct ApiError {
  Code code = Code::kInvalid;
  std::string message;
  std::string param;       // JSON path of the member at fault, "messages[0].role"; empty: none
  std::string error_code;  // what "code" shows, "context_length_exceeded"; empty: the table's for `code`
};

// For what comes up from below the API: no member of the request is named.
ApiError to_api_error(const Status& status);

// Requires: `code` is no success.
int http_status(Code code);

// {"error": {"message", "type", "param", "code"}}; `param` and `code` are null where there is none.
std::string error_body(const ApiError& error);
http::Response to_response(const ApiError& error);

}  // namespace dynamo::openai
