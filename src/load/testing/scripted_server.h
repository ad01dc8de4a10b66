// A server of OpenAI's API that says what a test wants and keeps what it was asked.
// Threads: any.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/io_threads.h"
#include "http/server.h"

namespace dynamo::load::testing {

class ScriptedServer {
 public:
  ScriptedServer() {
    models_.body = R"({"data":[{"id":"some-model"}]})";
    http::ServerOptions options;
    options.host = "127.0.0.1";
    options.port = 0;
    server_ = http::Server::listen(options, &io_).value();
    server_->route("GET", "/v1/models",
                   [this](const http::Request*, http::ResponseWriter* out) { return send_models(out); });
    for (const char* path : {"/v1/completions", "/v1/chat/completions"}) {
      server_->route("POST", path, [this](const http::Request* request, http::ResponseWriter* out) {
        return send_answer(request, out);
      });
    }
    server_->start();
  }
  ~ScriptedServer() { stop(); }
  // Nobody listens at the address from then on.
  void stop() { server_->stop(Clock::steady().now()); }

  uint16_t port() const { return server_->port(); }
  std::string url() const { return "http://127.0.0.1:" + std::to_string(port()); }
  void models(int status, std::string body) {
    const std::lock_guard lock(mutex_);
    models_.status = status;
    models_.body = std::move(body);
  }
  // To every question from now on; each piece of the body is written by itself.
  void answers(int status, std::vector<std::string> pieces) {
    const std::lock_guard lock(mutex_);
    status_ = status;
    pieces_ = std::move(pieces);
  }
  // The bodies of all questions.
  std::vector<std::string> asked() const {
    const std::lock_guard lock(mutex_);
    return asked_;
  }

 private:
  Task<void> send_models(http::ResponseWriter* out) {
    http::Response response;
    {
      const std::lock_guard lock(mutex_);
      response = models_;
    }
    static_cast<void>(co_await out->send(std::move(response)));
  }
  Task<void> send_answer(const http::Request* request, http::ResponseWriter* out) {
    http::Response head;
    std::vector<std::string> pieces;
    {
      const std::lock_guard lock(mutex_);
      asked_.push_back(request->body);
      head.status = status_;
      pieces = pieces_;
    }
    head.content_type = "text/event-stream";
    head.headers.emplace_back("x-dynamo-worker", "worker-3");
    static_cast<void>(co_await out->begin(std::move(head)));
    for (std::string& piece : pieces) static_cast<void>(co_await out->write(std::move(piece)));
    static_cast<void>(co_await out->end());
  }

  mutable std::mutex mutex_;
  http::Response models_;
  int status_ = 200;
  std::vector<std::string> pieces_;
  std::vector<std::string> asked_;
  IoThreads io_{1};
  std::unique_ptr<http::Server> server_;
};

}  // namespace dynamo::load::testing
