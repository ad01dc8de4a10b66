// A conversation beside a server that says what the test wants.
#include "apps/chat_session.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include <fmt/format.h>

#include "load/testing/scripted_server.h"

namespace dynamo::apps {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

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
  ChatSessionTest() { options_.url = server_.url(); }

  std::unique_ptr<ChatSession> open() { return ChatSession::open(options_).value(); }

  load::testing::ScriptedServer server_;
  ChatOptions options_;
  std::string shown_;
  const std::function<void(std::string_view)> show_ = [this](std::string_view text) { shown_ += text; };
};

TEST_F(ChatSessionTest, AnAnswerIsShownAsItComesAndCounted) {
  server_.answers(200, {piece_of("Pa"), piece_of("ris"), last(20, 16, 2)});
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
  server_.answers(200, {piece_of("Paris"), last(1, 0, 1)});
  options_.system = "Be short.";
  options_.temperature = 0.5;
  options_.max_tokens = 7;
  options_.seed = 9;
  const auto session = open();
  ASSERT_TRUE(session->ask("France?", show_).is_ok());
  ASSERT_TRUE(session->ask("Italy?", show_).is_ok());
  session->reset();
  ASSERT_TRUE(session->ask("Spain?", show_).is_ok());
  const auto bodies = server_.asked();
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
  server_.answers(400, {R"({"error":{"message":"too )", R"(long"}})"});
  EXPECT_EQ(session->ask("first?", show_).status().to_string(), "invalid: HTTP 400: too long");
  server_.answers(503, {"no JSON"});
  EXPECT_EQ(session->ask("second?", show_).status().to_string(), "unavailable: HTTP 503: no JSON");
  server_.answers(200, {piece_of("Pa"), event(R"({"error":{"message":"the worker died"}})")});
  EXPECT_EQ(session->ask("third?", show_).status().to_string(), "unavailable: the worker died");
  server_.answers(200, {piece_of("Pa")});
  EXPECT_EQ(session->ask("fourth?", show_).status().to_string(), "unavailable: the stream ended before [DONE]");
  server_.answers(200, {event("{")});
  EXPECT_THAT(session->ask("fifth?", show_).status().text(), HasSubstr("not JSON"));
  server_.answers(200, {piece_of("Paris"), last(1, 0, 1)});
  ASSERT_TRUE(session->ask("sixth?", show_).is_ok());
  EXPECT_THAT(server_.asked().back(), Not(testing::ContainsRegex("first|second|third|fourth|fifth")));
}

TEST_F(ChatSessionTest, AServerWithoutAModelIsSaid) {
  server_.models(200, R"({"data":[]})");
  EXPECT_EQ(ChatSession::open(options_).status().to_string(),
            fmt::format("not_found: the server at 127.0.0.1:{} serves no model now", server_.port()));
  server_.models(500, "");
  EXPECT_EQ(ChatSession::open(options_).status().code(), Code::kUnavailable);
  options_.model = "named";
  EXPECT_EQ(open()->model(), "named");
}

TEST_F(ChatSessionTest, AnAddressThatIsNoneOrWhereNobodyIsIsSaid) {
  options_.url = "ftp://x";
  EXPECT_EQ(ChatSession::open(options_).status().code(), Code::kInvalid);
  server_.stop();
  options_.url = server_.url();
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
