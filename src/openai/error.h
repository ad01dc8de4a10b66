// OpenAI's error object, and the one table from our codes to HTTP's.
// Threads: values and pure functions.
#pragma once

#include <string>

#include "base/status.h"
#include "http/message.h"

namespace dynamo::openai {

struct ApiError {
  int status = 400;
  std::string message;
  std::string param;  // empty: null
  std::string code;   // empty: null
};

// {"error": {"message", "type", "param", "code"}} with the error's status; Retry-After for 503.
http::Response response_of(const ApiError& error);
// The same object as one server-sent event, for a stream that breaks.
std::string event_of(const ApiError& error);

// What a Status of the layers below means to a client.
ApiError api_error(const Status& status);

}  // namespace dynamo::openai
