// A conversation beside a server that says what the test wants.
#include "apps/chat_session.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <mutex>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "base/io_threads.h"
#include "http/server.h"

namespace dynamo::apps {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

// What the server answers, and what it was asked.
struct Script {
  http::Response models{.body = R"({"data":[{"id":"some-model"}]})"};
  int status = 200;
  std::vector<std::string> pieces;  // of the answer's body

  std::mutex mutex;
  std::vector<std::string> asked;  // bodies
};

Task<void> send_models(Script* script, http::ResponseWriter* out) {
  http::Response response;
  {
    const std::lock_guard lock(script->mutex);
    response = script->models;
  }
  static_cast<void>(co_await out->send(std::move(response)));
}

Task<void> send_answer(Script* script, const http::Request* request, http::ResponseWriter* out) {
  http::Response head;
  std::vector<std::string> pieces;
  {
    const std::lock_guard lock(script->mutex);
    script->asked.push_back(request->body);
    head.status = script->status;
    pieces = script->pieces;
  }
  head.content_type = "text/event-stream";
  head.headers.emplace_back("x-dynamo-worker", "worker-3");
  static_cast<void>(co_await out->begin(std::move(head)));
  for (std::string& piece : pieces) static_cast<void>(co_await out->write(std::move(piece)));
  static_cast<void>(co_await out->end());
}

std::string event(const std::string& json) {
  return "data: " + json + "\n\n";
}

std::string piece_of(const std::string& text) {
  return event(fmt::format(R"({{"choices":[{{"delta":{{"content":"{}"}}}}]}})", text));
}

std::string last(int prompt, int cached, int completion) {
  return event(R"({"choices":[{"delta":{},"finish_reason":"stop"}]})") +
         event(fmt::format(R"({{"choices":[],"usage":{{"prompt_tokens":{},"completion_tokens":{},)"
                           R"("prompt_tokens_details":{{"cached_tokens":{}}}}}}})",
                           prompt, completion, cached)) +
         event("[DONE]");
}

class ChatSessionTest : public testing::Test {
 protected:
  ChatSessionTest() {
    http::ServerOptions options;
    options.host = "127.0.0.1";
    options.port = 0;
    server_ = http::Server::listen(options, &io_).value();
    server_->route("GET", "/v1/models", [this](const http::Request*, http::ResponseWriter* out) -> Task<void> {
      return send_models(&script_, out);
    });
    server_->route("POST", "/v1/chat/completions",
                   [this](const http::Request* request, http::ResponseWriter* out) -> Task<void> {
                     return send_answer(&script_, request, out);
                   });
    server_->start();
    options_.url = fmt::format("http://127.0.0.1:{}", server_->port());
  }
  ~ChatSessionTest() override { server_->stop(Clock::steady().now()); }

  std::unique_ptr<ChatSession> open() { return ChatSession::open(options_).value(); }
  void answers(int status, std::vector<std::string> pieces) {
    const std::lock_guard lock(script_.mutex);
    script_.status = status;
    script_.pieces = std::move(pieces);
  }
  void models(int status, std::string body) {
    const std::lock_guard lock(script_.mutex);
    script_.models.status = status;
    script_.models.body = std::move(body);
  }
  std::vector<std::string> asked() {
    const std::lock_guard lock(script_.mutex);
    return script_.asked;
  }

  Script script_;
  IoThreads io_{1};
  std::unique_ptr<http::Server> server_;
  ChatOptions options_;
  std::string shown_;
  const std::function<void(std::string_view)> show_ = [this](std::string_view text) { shown_ += text; };
};

TEST_F(ChatSessionTest, AnAnswerIsShownAsItComesAndCounted) {
  answers(200, {piece_of("Pa"), piece_of("ris"), last(20, 16, 2)});
  const auto session = open();
  EXPECT_EQ(session->model(), "some-model");
  const auto stats = session->ask("The capital of France?", show_);
  ASSERT_TRUE(stats.is_ok()) << stats.status().to_string();
  EXPECT_EQ(shown_, "Paris");
  EXPECT_EQ(stats->prompt_tokens, 20U);
  EXPECT_EQ(stats->cached_tokens, 16U);
  EXPECT_EQ(stats->completion_tokens, 2U);
  EXPECT_EQ(stats->finish_reason, "stop");
  EXPECT_EQ(stats->worker, "worker-3");
  EXPECT_THAT(describe(*stats), HasSubstr("2 tokens; 16 of 20 prompt tokens cached; worker-3"));
}

TEST_F(ChatSessionTest, EachTurnHasThoseBeforeItUntilTheyAreForgotten) {
  answers(200, {piece_of("Paris"), last(1, 0, 1)});
  options_.system = "Be short.";
  options_.temperature = 0.5;
  options_.max_tokens = 7;
  options_.seed = 9;
  const auto session = open();
  ASSERT_TRUE(session->ask("France?", show_).is_ok());
  ASSERT_TRUE(session->ask("Italy?", show_).is_ok());
  session->reset();
  ASSERT_TRUE(session->ask("Spain?", show_).is_ok());
  const auto bodies = asked();
  ASSERT_EQ(bodies.size(), 3U);
  for (const std::string& body : bodies) {
    EXPECT_THAT(body, HasSubstr(R"({"role":"system","content":"Be short."})"));
    EXPECT_THAT(body, HasSubstr(R"("max_tokens":7)"));
    EXPECT_THAT(body, HasSubstr(R"("seed":9)"));
    EXPECT_THAT(body, HasSubstr(R"("temperature":5E-1)"));
  }
  EXPECT_THAT(bodies[1], HasSubstr(R"({"role":"user","content":"France?"},{"role":"assistant","content":"Paris"},)"
                                   R"({"role":"user","content":"Italy?"})"));
  EXPECT_THAT(bodies[2], Not(HasSubstr("France?")));
}

TEST_F(ChatSessionTest, AQuestionThatFailsIsTakenBack) {
  const auto session = open();
  answers(400, {R"({"error":{"message":"too )", R"(long"}})"});
  EXPECT_EQ(session->ask("first?", show_).status().to_string(), "invalid: HTTP 400: too long");
  answers(503, {"no JSON"});
  EXPECT_EQ(session->ask("second?", show_).status().to_string(), "unavailable: HTTP 503: no JSON");
  answers(200, {piece_of("Pa"), event(R"({"error":{"message":"the worker died"}})")});
  EXPECT_EQ(session->ask("third?", show_).status().to_string(), "unavailable: the worker died");
  answers(200, {piece_of("Pa")});
  EXPECT_EQ(session->ask("fourth?", show_).status().to_string(), "unavailable: the stream ended before [DONE]");
  answers(200, {event("{")});
  EXPECT_THAT(session->ask("fifth?", show_).status().text(), HasSubstr("not JSON"));
  answers(200, {piece_of("Paris"), last(1, 0, 1)});
  ASSERT_TRUE(session->ask("sixth?", show_).is_ok());
  EXPECT_THAT(asked().back(), Not(testing::ContainsRegex("first|second|third|fourth|fifth")));
}

TEST_F(ChatSessionTest, AServerWithoutAModelIsSaid) {
  models(200, R"({"data":[]})");
  EXPECT_EQ(ChatSession::open(options_).status().to_string(),
            fmt::format("not_found: the server at 127.0.0.1:{} serves no model now", server_->port()));
  models(500, "");
  EXPECT_EQ(ChatSession::open(options_).status().code(), Code::kUnavailable);
  options_.model = "named";
  EXPECT_EQ(open()->model(), "named");
}

TEST_F(ChatSessionTest, AnAddressThatIsNoneOrWhereNobodyIsIsSaid) {
  options_.url = "ftp://x";
  EXPECT_EQ(ChatSession::open(options_).status().code(), Code::kInvalid);
  server_->stop(Clock::steady().now());
  options_.url = fmt::format("http://127.0.0.1:{}", server_->port());
  EXPECT_EQ(ChatSession::open(options_).status().code(), Code::kUnavailable);
}

TEST(Describe, SaysThatAnAnswerWasStoppedOrHowFastItCame) {
  using namespace std::chrono_literals;
  EXPECT_EQ(describe({}), "stopped");
  load::Answer answer;
  answer.first_token = 85ms;
  answer.total = 1085ms;
  answer.prompt_tokens = 37;
  answer.cached_tokens = 20;
  answer.completion_tokens = 9;
  answer.finish_reason = "stop";
  EXPECT_EQ(describe(answer), "first token after 85 ms, 8.0 tokens/s (9 tokens; 20 of 37 prompt tokens cached)");
}

}  // namespace
}  // namespace dynamo::apps
