// A small HTTP/1.1 client: enough for `dynamo chat`, health checks, and tests.
// Threads: a Client belongs to one executor; one request at a time; it keeps its connection for the next.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <boost/asio/any_io_executor.hpp>

#include "base/clock.h"
#include "base/host_port.h"
#include "base/status.h"
#include "base/task.h"
#include "http/message.h"

namespace dynamo::http {

struct Url {
  HostPort server;
  std::string path = "/";  // with query
};
// A zone may be written as RFC 6874 has it: http://[fe80::1%25eth0]:8000. Errors: kInvalid (not http://host[:port][/path], named).
Result<Url> parse_url(const std::string& text);

class Client {
 public:
  Client(boost::asio::any_io_executor executor, Url server);
  ~Client();

  // Sends a request and reads the response's head. Errors: kUnavailable (no connection: address and why), kDeadline,
  // kCorrupt (no HTTP).
  Task<Result<Response>> begin(std::string method, std::string path, Headers headers, std::string body, Time until);
  // The next piece of the body as it arrives; empty at its end.
  Task<Result<std::string>> read(Time until);
  // Ends the request under way, if there is one, with kUnavailable.
  void close();
  // begin(), then all pieces, into Response::body.
  Task<Result<Response>> fetch(std::string method, std::string path, Headers headers, std::string body, Time until);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// Splits a text/event-stream into events' data as bytes come in.  Source: HTML living standard, section 9.2.
class SseReader {
 public:
  // Returns: the data of each event that is complete now.
  std::vector<std::string> push(std::string_view bytes);

 private:
  std::string line_;
  std::string data_;
  bool has_data_ = false;
  bool has_cr_ = false;  // the last byte was a CR: a LF that follows belongs to it
  bool is_first_line_ = true;
};

}  // namespace dynamo::http
