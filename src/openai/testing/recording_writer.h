// Keeps what a handler writes.
#pragma once

#include <string>
#include <vector>

#include "http/message.h"

namespace dynamo::openai::testing {

class RecordingWriter final : public http::ResponseWriter {
 public:
  // write() fails with kUnavailable from this one on, as for a client that left.
  explicit RecordingWriter(size_t writes_until_gone = SIZE_MAX) : writes_until_gone_(writes_until_gone) {}

  Task<Status> send(http::Response response) override {
    ++responses;
    head = response;
    co_return Status();
  }
  Task<Status> begin(http::Response response) override {
    ++responses;
    head = std::move(response);
    co_return Status();
  }
  Task<Status> write(std::string piece) override {
    if (pieces.size() >= writes_until_gone_) co_return unavailable("the client is gone");
    pieces.push_back(std::move(piece));
    co_return Status();
  }
  Task<Status> end() override {
    has_ended = true;
    co_return Status();
  }

  // The data of every event of the stream.
  std::vector<std::string> events() const {
    std::string all;
    for (const std::string& piece : pieces) all += piece;
    std::vector<std::string> found;
    for (size_t at = 0; at < all.size();) {
      const size_t end = all.find("\n\n", at);
      CHECK(all.compare(at, 6, "data: ") == 0 && end != std::string::npos);
      found.push_back(all.substr(at + 6, end - at - 6));
      at = end + 2;
    }
    return found;
  }

  std::optional<std::string> header(std::string_view name) const {
    for (const auto& [key, value] : head.headers) {
      if (key == name) return value;
    }
    return std::nullopt;
  }

  int responses = 0;
  http::Response head;
  std::vector<std::string> pieces;
  bool has_ended = false;

 private:
  size_t writes_until_gone_;
};

}  // namespace dynamo::openai::testing
