// What an HTTP handler sees: a whole request, and the response it writes, in one piece or as a stream.
// Threads: values; a ResponseWriter belongs to its connection's I/O thread.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/status.h"
#include "base/task.h"

namespace dynamo::http {

using Headers = std::vector<std::pair<std::string, std::string>>;  // in order; names compare without case

struct Request {
  std::string method;  // "GET"
  std::string path;    // decoded, without query
  std::string query;   // after '?', as sent
  Headers headers;
  std::string body;                                                  // whole, de-chunked
  std::string client;                                                // "127.0.0.1:54321"
  std::vector<std::pair<std::string, std::string>> path_parameters;  // "{id}" of the route

  // First value of a header, or none.
  std::optional<std::string_view> header(std::string_view name) const;
  // Value of a path parameter. Requires: the route has it.
  const std::string& path_parameter(std::string_view name) const;
};

struct Response {
  int status = 200;
  std::string content_type = "application/json";
  std::string body;
  Headers headers = {};
};

// Writes one response. Exactly one of send() or begin() ... end() is called. A client that stops reading is cut off
// after the server's write timeout. A header that has control characters is left out, and logged. Errors of all: kUnavailable (the client is gone), kDeadline (it does not read).
class ResponseWriter {
 public:
  virtual ~ResponseWriter() = default;
  virtual Task<Status> send(Response response) = 0;
  // Starts a stream: chunked for HTTP/1.1, closed at its end for HTTP/1.0. `head.body` is ignored.
  virtual Task<Status> begin(Response head) = 0;
  virtual Task<Status> write(std::string piece) = 0;
  virtual Task<Status> end() = 0;
};

// Answers one request. Runs on the connection's I/O thread and must not block.
using Handler = std::function<Task<void>(const Request*, ResponseWriter*)>;

}  // namespace dynamo::http
