// Bytes of a connection to whole requests, without a socket: the path that the server uses and the fuzzer drives.
//
// Boost.Beast parses the fields and the body; before it sees the head we refuse what RFC 9112 calls dangerous and Beast lets pass:
// folded lines, bare CR or LF, repeated Host or Content-Length, a Host missing from HTTP/1.1, a transfer coding other than
// chunked; and a body in a content coding, which nobody here would decode.
// Source: RFC 9112 sections 2.2, 3.2, 5.2, 6.1, 6.3; RFC 9110 section 8.4.  Threads: one per connection.
// Private to the module.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "http/message.h"

namespace dynamo::http {

struct RequestLimits {
  uint32_t header_bytes = 32U << 10;
  uint64_t body_bytes = 45ULL << 20;
};

class RequestParser {
 public:
  enum class State {
    kIdle,      // nothing of a request has come yet
    kHead,      // in the middle of the head
    kBody,      // the head is complete, the body is not
    kComplete,  // take() it
    kFailed,    // status() and message() say why; the connection must be closed
  };

  explicit RequestParser(RequestLimits limits);
  ~RequestParser();
  RequestParser(RequestParser&&) noexcept;

  // Takes bytes; those after a complete request wait for the next. Returns: where it stands.
  State push(std::string_view bytes);
  State state() const;

  // In kBody: the client waits for "100 Continue" before it sends the body. True once.
  bool take_expects_continue();

  // In kComplete: the request. Then parsing goes on with the bytes after it: look at state().
  Request take();
  // Of the request last taken, or the failed one: its version (10 or 11) and whether the connection may be kept.
  int version() const;
  bool keeps_alive() const;

  int status() const;  // in kFailed: 400, 413, 415, 417, 431, 501, 505
  const std::string& message() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// Splits and decodes a request target ("/v1/models?x=1", "http://host/path"). False if it is none.
bool split_target(std::string_view target, std::string* path, std::string* query);

}  // namespace dynamo::http
