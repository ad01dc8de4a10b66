// Asks a server that speaks OpenAI's API, streaming, and measures the answer.
// Threads: one executor; one request at a time.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/status.h"
#include "base/task.h"
#include "http/client.h"
#include "json/parse.h"

namespace dynamo::load {

// One answer, as far as it has come.
struct Answer {
  std::string text;
  Duration first_token{};      // from sending to the first piece of text
  Duration total{};            // to the end of the answer
  std::vector<Duration> gaps;  // between pieces of text
  uint64_t prompt_tokens = 0;  // these three as the server says
  uint64_t cached_tokens = 0;
  uint64_t completion_tokens = 0;
  std::string finish_reason;
  std::string worker;  // header x-dynamo-worker
};

class OpenAiClient {
 public:
  // `api_key`: sent as a bearer token if not empty.
  OpenAiClient(boost::asio::any_io_executor executor, http::Url server, const std::string& api_key = "");

  // The first model that the server lists. Errors: kUnavailable, kDeadline, kNotFound (it has none), kCorrupt.
  Task<Result<std::string>> first_model(Time until);
  // Asks `path` ("/v1/chat/completions", "/v1/completions"; "stream" and "stream_options" in the body are the caller's)
  // and fills `answer`; `show` gets text as it comes. Errors: kUnavailable (also a stream that ends before [DONE]),
  // kDeadline, kCorrupt, and what the server says: "HTTP 404: ..." as kInvalid, from 500 on as kUnavailable.
  Task<Status> ask(std::string path, std::string body, Time until, std::function<void(std::string_view)> show,
                   Answer* answer);
  // Ends the request under way, if there is one, with kUnavailable.
  void close() { client_.close(); }

 private:
  http::Client client_;
  const std::string server_;
  http::Headers headers_{{"Content-Type", "application/json"}};
};

}  // namespace dynamo::load
