#include "openai/service.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>

#include "openai/testing/recording_writer.h"
#include "openai/testing/test_model.h"

namespace dynamo::openai {
namespace {

using testing::chunk_of;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::kImEnd;
using testing::RecordingWriter;
using testing::say;
using testing::TestDirectory;

// A service over one scripted model; calls its handlers without a socket.
struct TestService {
  explicit TestService(testing::Script script = say({"Hel", "lo"})) : directory(std::move(script)) {}

  Task<void> handler(Endpoint endpoint, RecordingWriter* out) { return get().complete(endpoint, &request, out); }
  Service& get() {
    if (!service_) {
      ServiceState state;
      state.is_ready = [this] { return is_ready; };
      state.health = [] { return boost::json::object{{"instances", boost::json::array()}}; };
      service_ = std::make_unique<Service>(options, &directory, state, &metrics);
    }
    return *service_;
  }
  RecordingWriter post(Endpoint endpoint, const std::string& body, size_t writes_until_gone = SIZE_MAX) {
    request.body = body;
    request.headers = {{"X-Request-Id", "req-1"}};
    RecordingWriter out(writes_until_gone);
    boost::asio::io_context io;
    std::exception_ptr thrown;
    boost::asio::co_spawn(io, handler(endpoint, &out), [&](std::exception_ptr error) { thrown = error; });
    io.run();
    EXPECT_EQ(thrown, nullptr);
    EXPECT_EQ(out.responses, 1);
    return out;
  }
  RecordingWriter chat(const std::string& members, size_t writes_until_gone = SIZE_MAX) {
    return post(Endpoint::kChat, R"({"model":"test/bytes","messages":[{"role":"user","content":"Hi"}])" + members + "}",
                writes_until_gone);
  }
  RecordingWriter completion(const std::string& members) {
    return post(Endpoint::kCompletions, R"({"model":"test/bytes")" + members + "}");
  }

  ServiceOptions options;
  bool is_ready = true;
  Metrics metrics;
  TestDirectory directory;
  http::Request request;
  std::unique_ptr<Service> service_;
};

// The time of creation is the only thing in a reply that a test cannot know.
std::string without_time(const std::string& text) {
  static const std::string kKey = "\"created\":";
  const size_t at = text.find(kKey);
  if (at == std::string::npos) return text;
  const size_t end = text.find_first_not_of("0123456789", at + kKey.size());
  return text.substr(0, at + kKey.size()) + "0" + text.substr(end);
}

std::vector<std::string> without_times(std::vector<std::string> events) {
  for (std::string& event : events) event = without_time(event);
  return events;
}

constexpr char kChunk[] =
    R"({"id":"chatcmpl-req-1","object":"chat.completion.chunk","created":0,"model":"test/bytes",)";
// The prompt is "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n": 3 special tokens and 18 bytes.

TEST(ChatCompletions, AWholeReplyHasOpenAisForm) {
  TestService service;
  const auto out = service.chat("");
  EXPECT_EQ(out.head.status, 200);
  EXPECT_EQ(out.head.content_type, "application/json");
  EXPECT_EQ(
      without_time(out.head.body),
      R"({"id":"chatcmpl-req-1","object":"chat.completion","created":0,"model":"test/bytes","choices":[)"
      R"({"index":0,"message":{"role":"assistant","content":"Hello","refusal":null},"logprobs":null,"finish_reason":"stop"}],)"
      R"("usage":{"prompt_tokens":21,"completion_tokens":6,"total_tokens":27,"prompt_tokens_details":{"cached_tokens":0}}})");
  EXPECT_EQ(out.header("x-request-id"), "req-1");
  EXPECT_EQ(out.header("x-dynamo-worker"), "worker-1");
}

TEST(ChatCompletions, AStreamHasRoleDeltasFinishAndDone) {
  TestService service;
  const auto out = service.chat(R"(,"stream":true)");
  EXPECT_EQ(out.head.status, 200);
  EXPECT_EQ(out.head.content_type, "text/event-stream");
  EXPECT_EQ(out.header("x-dynamo-worker"), "worker-1");
  EXPECT_TRUE(out.has_ended);
  const std::string chunk = kChunk;
  EXPECT_THAT(
      without_times(out.events()),
      ElementsAre(
          chunk +
              R"("choices":[{"index":0,"delta":{"role":"assistant","content":"","refusal":null},"logprobs":null,"finish_reason":null}]})",
          chunk + R"("choices":[{"index":0,"delta":{"content":"Hel"},"logprobs":null,"finish_reason":null}]})",
          chunk + R"("choices":[{"index":0,"delta":{"content":"lo"},"logprobs":null,"finish_reason":null}]})",
          chunk + R"("choices":[{"index":0,"delta":{},"logprobs":null,"finish_reason":"stop"}]})", "[DONE]"));
  EXPECT_EQ(out.pieces.size(), 2U) << "one write for each chunk of the engine";
}

TEST(ChatCompletions, UsageInAStreamComesLastAndIsNullBefore) {
  TestService service;
  const auto events = service.chat(R"(,"stream":true,"stream_options":{"include_usage":true})").events();
  ASSERT_EQ(events.size(), 6U);
  for (size_t i = 0; i < 4; ++i) EXPECT_THAT(events[i], HasSubstr(R"(}],"usage":null})"));
  EXPECT_EQ(without_time(events[4]),
            kChunk + std::string(R"("choices":[],"usage":{"prompt_tokens":21,"completion_tokens":6,)"
                                 R"("total_tokens":27,"prompt_tokens_details":{"cached_tokens":0}}})"));
  EXPECT_EQ(events[5], "[DONE]");
}

TEST(ChatCompletions, ContinuousUsageIsInEveryChunk) {
  TestService service;
  const auto events =
      service.chat(R"(,"stream":true,"stream_options":{"include_usage":true,"continuous_usage_stats":true})").events();
  ASSERT_EQ(events.size(), 6U);
  EXPECT_THAT(events[0], HasSubstr(R"("completion_tokens":3,"total_tokens":24)"));
  EXPECT_THAT(events[2], HasSubstr(R"("completion_tokens":6,"total_tokens":27)"));
}

TEST(ChatCompletions, SeveralChoicesRunAtOnceWithSeedsOfTheirOwn) {
  TestService service([](const GenerateRequest& request) {
    return say({"a", std::string(1, static_cast<char>('x' + *request.sampling.seed - 7))})(request);
  });
  const auto out = service.chat(R"(,"n":3,"seed":7)");
  EXPECT_THAT(out.head.body, HasSubstr(R"({"index":0,"message":{"role":"assistant","content":"ax")"));
  EXPECT_THAT(out.head.body, HasSubstr(R"({"index":1,"message":{"role":"assistant","content":"ay")"));
  EXPECT_THAT(out.head.body, HasSubstr(R"({"index":2,"message":{"role":"assistant","content":"az")"));
  EXPECT_THAT(out.head.body, HasSubstr(R"("prompt_tokens":21,"completion_tokens":9,"total_tokens":30)"));
  ASSERT_EQ(service.directory.generator().requests().size(), 3U);
  EXPECT_EQ(service.directory.generator().requests()[2].id, "req-1-2");
  EXPECT_EQ(service.directory.generator().requests()[2].sampling.seed, 9U);
}

TEST(ChatCompletions, StreamedChoicesAreWrittenTogetherAndFinishOnceEach) {
  TestService service;
  const auto out = service.chat(R"(,"n":2,"stream":true)");
  EXPECT_EQ(out.pieces.size(), 2U) << "what is ready at one wake-up goes out in one write";
  std::map<std::string, int> finished;
  const auto events = out.events();
  for (const std::string& event : events) {
    for (const std::string& index : {std::string("0"), std::string("1")}) {
      finished[index] += event.find("\"index\":" + index) != std::string::npos &&
                         event.find("\"finish_reason\":\"stop\"") != std::string::npos;
    }
  }
  EXPECT_EQ(finished, (std::map<std::string, int>{{"0", 1}, {"1", 1}}));
  EXPECT_EQ(std::count(events.begin(), events.end(), "[DONE]"), 1);
}

TEST(ChatCompletions, AStopStringEndsTheChoiceAndDropsTheGeneration) {
  const auto endless = [](const GenerateRequest&) {
    ScriptedGenerator::Answer answer;
    answer.chunks = {chunk_of("one ST"), chunk_of("OP two"), chunk_of("never")};
    answer.hang_after = 2;
    return answer;
  };
  for (const char* stream : {"true", "false"}) {
    TestService service(endless);
    const auto out = service.chat(std::string(R"(,"stop":["STOP"],"stream":)") + stream);
    EXPECT_EQ(service.directory.generator().cancelled(), 1);
    if (std::string_view(stream) == "false") {
      EXPECT_THAT(out.head.body,
                  HasSubstr(R"("content":"one ","refusal":null},"logprobs":null,"finish_reason":"stop")"));
      EXPECT_THAT(out.head.body, HasSubstr(R"("completion_tokens":8,)"))
          << "up to the token that completed the stop string";
    } else {
      ASSERT_EQ(out.events().size(), 4U);
      EXPECT_THAT(out.events()[1], HasSubstr(R"("content":"one ")"));
    }
  }
}

TEST(ChatCompletions, LogprobsAreOfTheTokensShown) {
  TestService service([](const GenerateRequest& request) {
    EXPECT_EQ(request.logprobs, 2U);
    ScriptedGenerator::Answer answer;
    TokenChunk chunk = chunk_of("A\xc3\xa9", FinishReason::kStop);  // "Aé" and the stop id
    chunk.logprobs = {TokenLogprobs{{'A', -0.5F}, {{'A', -0.5F}, {'"', -1.25F}}},
                      TokenLogprobs{{0xc3, 0}, {{0xc3, 0}, {'x', -std::numeric_limits<float>::infinity()}}},
                      TokenLogprobs{{0xa9, -1}, {}}, TokenLogprobs{{kImEnd, -2}, {}}};
    answer.chunks = {chunk};
    return answer;
  });
  const auto out = service.chat(R"(,"logprobs":true,"top_logprobs":2)");
  EXPECT_THAT(
      out.head.body,
      HasSubstr(
          R"("logprobs":{"content":[)"
          R"({"token":"A","logprob":-0.5,"bytes":[65],"top_logprobs":[{"token":"A","logprob":-0.5,"bytes":[65]},{"token":"\"","logprob":-1.25,"bytes":[34]}]},)"
          R"({"token":")"
          "\xef\xbf\xbd"
          R"(","logprob":0,"bytes":[195],"top_logprobs":[{"token":")"
          "\xef\xbf\xbd"
          R"(","logprob":0,"bytes":[195]},{"token":"x","logprob":-9999,"bytes":[120]}]},)"
          R"({"token":")"
          "\xef\xbf\xbd"
          R"(","logprob":-1,"bytes":[169],"top_logprobs":[]}],"refusal":null})"));
}

TEST(Completions, AWholeReplyHasOpenAisForm) {
  TestService service;
  const auto out = service.completion(R"(,"prompt":"Say: ","echo":true)");
  EXPECT_EQ(
      without_time(out.head.body),
      R"({"id":"cmpl-req-1","object":"text_completion","created":0,"model":"test/bytes","choices":[)"
      R"({"index":0,"text":"Say: Hello","logprobs":null,"finish_reason":"stop"}],)"
      R"("usage":{"prompt_tokens":5,"completion_tokens":6,"total_tokens":11,"prompt_tokens_details":{"cached_tokens":0}}})");
}

TEST(Completions, AStreamEchoesFirst) {
  TestService service;
  const auto out = service.completion(R"(,"prompt":"Say: ","echo":true,"stream":true)");
  const std::string chunk = R"({"id":"cmpl-req-1","object":"text_completion","created":0,"model":"test/bytes",)";
  EXPECT_THAT(
      without_times(out.events()),
      ElementsAre(chunk + R"("choices":[{"index":0,"text":"Say: ","logprobs":null,"finish_reason":null}]})",
                  chunk + R"("choices":[{"index":0,"text":"Hel","logprobs":null,"finish_reason":null}]})",
                  chunk + R"("choices":[{"index":0,"text":"lo","logprobs":null,"finish_reason":null}]})",
                  chunk + R"("choices":[{"index":0,"text":"","logprobs":null,"finish_reason":"stop"}]})", "[DONE]"));
}

TEST(Completions, EachPromptGetsNChoicesInOrder) {
  TestService service([](const GenerateRequest& request) {
    return say({std::string(1, static_cast<char>(request.prompt.tokens.back()))})(request);
  });
  const auto out = service.completion(R"(,"prompt":["a","bc"],"n":2)");
  for (const char* choice : {R"({"index":0,"text":"a")", R"({"index":1,"text":"a")", R"({"index":2,"text":"c")",
                             R"({"index":3,"text":"c")"}) {
    EXPECT_THAT(out.head.body, HasSubstr(choice));
  }
  EXPECT_THAT(out.head.body, HasSubstr(R"("prompt_tokens":3,"completion_tokens":8,)")) << "each prompt counted once";
}

TEST(Completions, LogprobsHaveTheOldForm) {
  TestService service([](const GenerateRequest&) {
    ScriptedGenerator::Answer answer;
    TokenChunk chunk = chunk_of("\xc3\xa9x", FinishReason::kLength);
    chunk.logprobs = {TokenLogprobs{{0xc3, -1}, {{'a', -0.5F}}}, TokenLogprobs{{0xa9, 0}, {{0xa9, 0}}},
                      TokenLogprobs{{'x', -2}, {{'x', -2}}}};
    answer.chunks = {chunk};
    return answer;
  });
  const auto out = service.completion(R"(,"prompt":"p","logprobs":1)");
  EXPECT_THAT(
      out.head.body,
      HasSubstr("\"logprobs\":{\"tokens\":[\"\xef\xbf\xbd\",\"\xef\xbf\xbd\",\"x\"],\"token_logprobs\":[-1,0,-2],"
                "\"top_logprobs\":[{\"a\":-0.5,\"\xef\xbf\xbd\":-1},{\"\xef\xbf\xbd\":0},{\"x\":-2}],"
                "\"text_offset\":[0,0,1]},\"finish_reason\":\"length\""));
}

TEST(CachedTokens, AreThoseOfEachPromptsFirstChoice) {
  TestService service([](const GenerateRequest& request) {
    ScriptedGenerator::Answer answer = say({"x"})(request);
    answer.chunks[0].cached_tokens = request.id == "req-1-0" ? 16 : 2;
    return answer;
  });
  EXPECT_THAT(service.chat(R"(,"n":2)").head.body, HasSubstr(R"("cached_tokens":16)"));
}

struct Failure {
  Status status;
  int http_status;
  const char* error_code;
};

class FailuresBeforeTheFirstToken : public ::testing::TestWithParam<Failure> {};

TEST_P(FailuresBeforeTheFirstToken, HaveAnHttpStatus) {
  for (const bool at_once : {true, false}) {
    for (const char* members : {"", R"(,"stream":true)", R"(,"stream":true,"n":2)"}) {
      TestService service([&](const GenerateRequest&) {
        ScriptedGenerator::Answer answer;
        (at_once ? answer.refusal : answer.failure) = GetParam().status;
        return answer;
      });
      const auto out = service.chat(members);
      EXPECT_EQ(out.head.status, GetParam().http_status);
      EXPECT_THAT(out.head.body, HasSubstr(GetParam().error_code));
      EXPECT_THAT(out.head.body, HasSubstr(R"("message":"because")"));
      EXPECT_EQ(out.header("retry-after").has_value(), GetParam().http_status == 503);
      EXPECT_EQ(out.header("x-request-id"), "req-1");
    }
  }
}

INSTANTIATE_TEST_SUITE_P(ByCode, FailuresBeforeTheFirstToken,
                         ::testing::Values(Failure{invalid("because"), 400, "null"},
                                           Failure{exhausted("because"), 503, "server_overloaded"},
                                           Failure{unavailable("because"), 503, "service_unavailable"},
                                           Failure{deadline("because"), 504, "request_timeout"},
                                           Failure{internal("because"), 500, "internal_error"}));

TEST(Streams, AFailureInTheMiddleIsAnErrorEventWithoutDone) {
  TestService service([](const GenerateRequest&) {
    ScriptedGenerator::Answer answer;
    answer.chunks = {chunk_of("Hel")};
    answer.failure = unavailable("the worker went away");
    return answer;
  });
  const auto out = service.chat(R"(,"stream":true)");
  EXPECT_EQ(out.head.status, 200);
  ASSERT_EQ(out.events().size(), 3U);
  EXPECT_THAT(out.events()[1], HasSubstr("Hel"));
  EXPECT_EQ(
      out.events()[2],
      R"({"error":{"message":"the worker went away","type":"server_error","param":null,"code":"service_unavailable"}})");
  EXPECT_TRUE(out.has_ended);
  EXPECT_THAT(service.metrics.expose(), HasSubstr(R"(status="503",stream="true"} 1)"));
}

TEST(Streams, AClientThatLeavesCancelsAllChoices) {
  TestService service([](const GenerateRequest&) {
    ScriptedGenerator::Answer answer;
    answer.chunks = {chunk_of("a"), chunk_of("b"), chunk_of("c")};
    answer.hang_after = 2;
    return answer;
  });
  const auto out = service.chat(R"(,"stream":true,"n":3)", /*writes_until_gone=*/1);
  EXPECT_FALSE(out.has_ended);
  EXPECT_EQ(service.directory.generator().cancelled(), 3);
  EXPECT_THAT(service.metrics.expose(), HasSubstr(R"(status="499",stream="true"} 1)"));
}

TEST(Streams, CancellingTheHandlerCancelsItsGenerations) {
  for (const char* members : {"", R"(,"n":2)"}) {
    TestService service([](const GenerateRequest&) {
      ScriptedGenerator::Answer answer;
      answer.hang_after = 0;
      return answer;
    });
    service.request.body =
        std::string(R"({"model":"test/bytes","messages":[{"role":"user","content":"Hi"}])") + members + "}";
    RecordingWriter out;
    boost::asio::io_context io;
    boost::asio::cancellation_signal gone;
    bool has_thrown = false;
    boost::asio::co_spawn(io, service.handler(Endpoint::kChat, &out),
                          boost::asio::bind_cancellation_slot(
                              gone.slot(), [&](std::exception_ptr error) { has_thrown = error != nullptr; }));
    while (service.directory.generator().requests().size() < (*members ? 2U : 1U)) io.run_one();
    io.poll();
    gone.emit(boost::asio::cancellation_type::terminal);
    io.run();  // returns: nothing is left waiting
    EXPECT_TRUE(has_thrown);
    EXPECT_EQ(out.responses, 0);
    EXPECT_EQ(service.directory.generator().cancelled(), *members ? 2 : 1);
  }
}

TEST(Requests, LongBodiesArePreparedOnThePool) {
  TestService service;
  service.options.inline_body_bytes = 0;
  EXPECT_EQ(service.chat("").head.status, 200);
  EXPECT_EQ(service.chat(R"(,"top_p":7)").head.status, 400);
}

TEST(Requests, AnIdOfTheClientsThatIsNotSaneIsReplaced) {
  TestService service;
  const auto ask = [&](const std::string& id) {
    service.request.headers = {{"x-request-id", id}};
    service.request.body = R"({"model":"test/bytes","prompt":"p"})";
    RecordingWriter out;
    boost::asio::io_context io;
    boost::asio::co_spawn(io, service.handler(Endpoint::kCompletions, &out), boost::asio::detached);
    io.run();
    return *out.header("x-request-id");
  };
  EXPECT_EQ(ask("a-B_c.1:2"), "a-B_c.1:2");
  for (const std::string& bad :
       {std::string(), std::string("with space"), std::string("new\r\nline"), std::string(129, 'a')}) {
    const std::string made = ask(bad);
    EXPECT_EQ(made.size(), 32U);
    EXPECT_EQ(made.find_first_not_of("0123456789abcdef"), std::string::npos);
  }
  EXPECT_NE(ask(""), ask(""));
}

TEST(Requests, AnUnknownModelMakesNoSeries) {
  TestService service;
  const auto out = service.post(Endpoint::kChat, R"({"model":"secret","messages":[{"role":"user","content":"Hi"}]})");
  EXPECT_EQ(out.head.status, 404);
  EXPECT_EQ(
      out.head.body,
      R"({"error":{"message":"The model 'secret' does not exist.","type":"invalid_request_error","param":"model","code":"model_not_found"}})");
  EXPECT_EQ(service.metrics.expose().find("secret"), std::string::npos);
  EXPECT_THAT(
      service.metrics.expose(),
      HasSubstr(
          R"(dynamo_frontend_requests_total{endpoint="chat_completions",model="unknown",status="404",stream="false"} 1)"));
}

TEST(Requests, AreCountedAndMeasured) {
  TestService service([](const GenerateRequest& request) {
    auto answer = say({"Hel", "lo"})(request);
    answer.chunks[0].cached_tokens = 16;
    return answer;
  });
  service.chat(R"(,"stream":true)");
  const std::string text = service.metrics.expose();
  for (
      const char* sample :
      {R"(dynamo_frontend_requests_total{endpoint="chat_completions",model="test/bytes",status="200",stream="true"} 1)",
       R"(dynamo_frontend_inflight_requests{model="test/bytes"} 0)",
       R"(dynamo_frontend_time_to_first_token_seconds_count{model="test/bytes"} 1)",
       R"(dynamo_frontend_inter_token_latency_seconds_count{model="test/bytes"} 3)",
       R"(dynamo_frontend_request_duration_seconds_count{model="test/bytes"} 1)",
       R"(dynamo_frontend_input_sequence_tokens_sum{model="test/bytes"} 21)",
       R"(dynamo_frontend_output_sequence_tokens_sum{model="test/bytes"} 6)",
       R"(dynamo_frontend_cached_prompt_tokens_total{model="test/bytes"} 16)"}) {
    EXPECT_THAT(text, HasSubstr(sample));
  }
}

TEST(Models, AreListedAndShown) {
  TestService service;
  const std::string model =
      R"({"id":"test/bytes","object":"model","created":1700000000,"owned_by":"dynamo","max_model_len":256})";
  EXPECT_EQ(service.get().list_models().body, R"({"object":"list","data":[)" + model + "]}");
  EXPECT_EQ(service.get().show_model("test/bytes").body, model);
  EXPECT_EQ(service.get().show_model("test").status, 404);
}

TEST(Requests, AModelThatMayStillBeFoundIsAskedForAgain) {
  TestService service;
  service.directory.set_warm(false);
  const auto out = service.post(Endpoint::kChat, R"({"model":"late","messages":[{"role":"user","content":"Hi"}]})");
  EXPECT_EQ(out.head.status, 503);
  EXPECT_EQ(out.header("retry-after"), "1");
  EXPECT_NE(out.head.body.find("'late' is not known yet"), std::string::npos) << out.head.body;
}

TEST(Health, FollowsTheProcess) {
  TestService service;
  EXPECT_EQ(service.get().show_health().body, R"({"status":"healthy","instances":[]})");
  EXPECT_EQ(service.get().show_ready().status, 200);
  service.is_ready = false;
  EXPECT_EQ(service.get().show_health().body, R"({"status":"unhealthy","instances":[]})");
  EXPECT_EQ(service.get().show_health().status, 503);
  EXPECT_EQ(service.get().show_ready().status, 503);
}

}  // namespace
}  // namespace dynamo::openai
