#include "openai/chat_request.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/json/serialize.hpp>

namespace dynamo::openai {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;

std::string body_with(const std::string& members) {
  return R"({"model":"m","messages":[{"role":"user","content":"Hi"}])" + (members.empty() ? "" : "," + members) + "}";
}

ChatRequest accepted(const std::string& body) {
  ChatRequest request;
  const auto wrong = parse_chat_request(body, RequestLimits(), &request);
  EXPECT_FALSE(wrong) << body << ": " << wrong->message;
  return request;
}

std::string messages_of(const std::string& messages) {
  return boost::json::serialize(accepted(R"({"model":"m","messages":)" + messages + "}").messages);
}

struct Refused {
  const char* members;
  const char* param;
  const char* error_code;
  const char* message;  // a part of it
};

class RefusedChatRequests : public ::testing::TestWithParam<Refused> {};

TEST_P(RefusedChatRequests, NameTheParameter) {
  ChatRequest request;
  const auto wrong = parse_chat_request(body_with(GetParam().members), RequestLimits(), &request);
  ASSERT_TRUE(wrong) << GetParam().members;
  EXPECT_EQ(wrong->param, GetParam().param);
  EXPECT_EQ(wrong->error_code, GetParam().error_code);
  EXPECT_EQ(wrong->code, *GetParam().error_code ? Code::kInvalid : Code::kUnsupported);
  EXPECT_THAT(wrong->message, HasSubstr(GetParam().message));
}

constexpr char kType[] = "invalid_type";
constexpr char kValue[] = "invalid_value";
constexpr char kMissing[] = "missing_required_parameter";
constexpr char kUnsupported[] = "";  // the table's code for kUnsupported, unsupported_parameter, is shown

INSTANTIATE_TEST_SUITE_P(
    Sampling, RefusedChatRequests,
    ::testing::Values(Refused{R"("temperature":2.5)", "temperature", kValue, "a number from 0 to 2, but got 2.5"},
                      Refused{R"("temperature":-0.1)", "temperature", kValue, "-0.1"},
                      Refused{R"("temperature":"hot")", "temperature", kType, "expected a number, but got a string"},
                      Refused{R"("top_p":0)", "top_p", kValue, "above 0 to 1, but got 0"},
                      Refused{R"("top_p":1.5)", "top_p", kValue, "1.5"},
                      Refused{R"("top_k":-2)", "top_k", kValue, "-2"},
                      Refused{R"("min_p":1.1)", "min_p", kValue, "1.1"},
                      Refused{R"("repetition_penalty":0)", "repetition_penalty", kValue, "above 0"},
                      Refused{R"("presence_penalty":3)", "presence_penalty", kValue, "from -2 to 2"},
                      Refused{R"("frequency_penalty":-3)", "frequency_penalty", kValue, "from -2 to 2"},
                      Refused{R"("seed":1.5)", "seed", kType, "an integer"},
                      Refused{R"("logit_bias":[1])", "logit_bias", kType, "an object"},
                      Refused{R"("logit_bias":{"x":1})", "logit_bias", kValue, "'x'"},
                      Refused{R"("logit_bias":{"01":1})", "logit_bias", kValue, "'01'"},
                      Refused{R"("logit_bias":{"":1})", "logit_bias", kValue, "''"},
                      Refused{R"("logit_bias":{"4294967296":1})", "logit_bias", kValue, "'4294967296'"},
                      Refused{R"("logit_bias":{"7":101})", "logit_bias.7", kValue, "101"},
                      Refused{R"("logit_bias":{"7":null})", "logit_bias.7", kType, "null"},
                      Refused{R"("nvext":{"top_k":"a"})", "nvext.top_k", kType, "an integer"},
                      Refused{R"("nvext":{"unknown":1})", "nvext.unknown", kUnsupported, "nvext.unknown"}));

INSTANTIATE_TEST_SUITE_P(
    Lengths, RefusedChatRequests,
    ::testing::Values(Refused{R"("max_tokens":0)", "max_tokens", kValue, "from 1"},
                      Refused{R"("max_tokens":-5)", "max_tokens", kValue, "-5"},
                      Refused{R"("max_tokens":10.5)", "max_tokens", kType, "an integer"},
                      Refused{R"("max_completion_tokens":0)", "max_completion_tokens", kValue, "0"},
                      Refused{R"("min_tokens":-1)", "min_tokens", kValue, "-1"},
                      Refused{R"("n":0)", "n", kValue, "from 1 to 128"}, Refused{R"("n":129)", "n", kValue, "129"},
                      Refused{R"("stop":[""])", "stop[0]", kValue, "an empty one"},
                      Refused{R"("stop":"")", "stop", kValue, "an empty one"},
                      Refused{R"("stop":["a",1])", "stop[1]", kType, "a string"},
                      Refused{R"("stop":1)", "stop", kType, "a string or an array of strings"},
                      Refused{R"("stop":["","","","","","","","","","","","","","","","",""])", "stop", kValue,
                              "at most 16 strings, but got 17"},
                      Refused{R"("stop_token_ids":[-1])", "stop_token_ids[0]", kValue, "-1"},
                      Refused{R"("stop_token_ids":["a"])", "stop_token_ids[0]", kType, "an integer"}));

INSTANTIATE_TEST_SUITE_P(
    Rest, RefusedChatRequests,
    ::testing::Values(
        Refused{R"("model":null)", "model", kMissing, "'model'"}, Refused{R"("model":1)", "model", kType, "a string"},
        Refused{R"("stream":"yes")", "stream", kType, "a boolean"},
        Refused{R"("stream_options":{"include_usage":true})", "stream_options", kValue, "'stream': true"},
        Refused{R"("stream":true,"stream_options":{"x":true})", "stream_options.x", kUnsupported, ""},
        Refused{R"("logprobs":1)", "logprobs", kType, "a boolean"},
        Refused{R"("top_logprobs":3)", "top_logprobs", kValue, "'logprobs': true"},
        Refused{R"("logprobs":true,"top_logprobs":21)", "top_logprobs", kValue, "from 0 to 20"},
        Refused{R"("response_format":{"type":"json_object"})", "response_format", kUnsupported, "'text' only"},
        Refused{R"("response_format":{"type":"json_schema","json_schema":{}})", "response_format", kUnsupported, ""},
        Refused{R"("response_format":"text")", "response_format", kType, "an object"},
        Refused{R"("tools":[1])", "tools[0]", kType, "an object"},
        Refused{R"("tools":[{"type":"custom"}])", "tools[0].type", kUnsupported, ""},
        Refused{R"("tools":[{"type":"function"}])", "tools[0].function", kMissing, ""},
        Refused{R"("tools":[{"type":"function","function":{}}])", "tools[0].function.name", kMissing, ""},
        Refused{R"("tool_choice":"required")", "tool_choice", kUnsupported, "cannot be forced"},
        Refused{R"("tool_choice":{"type":"function"})", "tool_choice", kUnsupported, ""},
        Refused{R"("tool_choice":"maybe")", "tool_choice", kValue, "'maybe'"},
        Refused{R"("tool_choice":1)", "tool_choice", kType, ""},
        Refused{R"("functions":[])", "functions", kUnsupported, "'tools'"},
        Refused{R"("function_call":"auto")", "function_call", kUnsupported, "'tool_choice'"},
        Refused{R"("store":true)", "store", kUnsupported, ""},
        Refused{R"("service_tier":"flex")", "service_tier", kUnsupported, ""},
        Refused{R"("modalities":["audio"])", "modalities", kUnsupported, ""},
        Refused{R"("audio":{})", "audio", kUnsupported, ""},
        Refused{R"("verbosity":"low")", "verbosity", kUnsupported, ""},
        Refused{R"("chat_template_kwargs":{"messages":[]})", "chat_template_kwargs.messages", kUnsupported, ""},
        Refused{R"("continue_final_message":true)", "continue_final_message", kValue, "'add_generation_prompt': false"},
        Refused{R"("user":1)", "user", kType, "a string"}, Refused{R"("metadata":"x")", "metadata", kType, "an object"},
        Refused{R"("guided_json":{})", "guided_json", kUnsupported, "guided_json"},
        Refused{R"("no_such_parameter":1)", "no_such_parameter", kUnsupported, "no_such_parameter"}));

// A later member of the same name counts, so these take the place of the good messages.
INSTANTIATE_TEST_SUITE_P(
    Messages, RefusedChatRequests,
    ::testing::Values(
        Refused{R"("messages":null)", "messages", kMissing, ""},
        Refused{R"("messages":[])", "messages", kValue, "an empty array"},
        Refused{R"("messages":"hello")", "messages", kType, "an array"},
        Refused{R"("messages":["hello"])", "messages[0]", kType, "an object"},
        Refused{R"("messages":[{"content":"x"}])", "messages[0].role", kMissing, ""},
        Refused{R"("messages":[{"role":"nobody","content":"x"}])", "messages[0].role", kValue, "'nobody'"},
        Refused{R"("messages":[{"role":"user"}])", "messages[0].content", kMissing, ""},
        Refused{R"("messages":[{"role":"user","content":null}])", "messages[0].content", kMissing, ""},
        Refused{R"("messages":[{"role":"user","content":1}])", "messages[0].content", kType,
                "a string or an array of parts"},
        Refused{R"("messages":[{"role":"user","content":[]}])", "messages[0].content", kValue, ""},
        Refused{R"("messages":[{"role":"user","content":["x"]}])", "messages[0].content[0]", kType, "an object"},
        Refused{R"("messages":[{"role":"user","content":[{"type":"text"}]}])", "messages[0].content[0].text", kMissing,
                ""},
        Refused{
            R"("messages":[{"role":"user","content":[{"type":"text","text":"x"},{"type":"image_url","image_url":{}}]}])",
            "messages[0].content[1].type", kUnsupported, "'image_url'"},
        Refused{R"("messages":[{"role":"user","content":[{"type":"input_audio","input_audio":{}}]}])",
                "messages[0].content[0].type", kUnsupported, "'input_audio'"},
        Refused{R"("messages":[{"role":"user","content":"x","mood":"good"}])", "messages[0].mood", kUnsupported, ""},
        Refused{R"("messages":[{"role":"user","content":"x","tool_calls":[]}])", "messages[0].tool_calls", kUnsupported,
                ""},
        Refused{R"("messages":[{"role":"tool","content":"x"}])", "messages[0].tool_call_id", kMissing, ""},
        Refused{R"("messages":[{"role":"assistant","tool_calls":[{"function":{}}]}])",
                "messages[0].tool_calls[0].function.name", kMissing, ""},
        Refused{R"("messages":[{"role":"assistant","tool_calls":[1]}])", "messages[0].tool_calls[0]", kType, ""},
        Refused{R"("messages":[{"role":"assistant","content":"x","function_call":{}}])", "messages[0].function_call",
                kUnsupported, ""}));

TEST(ChatRequest, SilenceMeansTheDefaults) {
  const RequestOptions options = accepted(body_with("")).options;
  EXPECT_EQ(options.model, "m");
  EXPECT_EQ(options.n, 1U);
  EXPECT_FALSE(options.is_stream || options.includes_usage || options.ignores_eos || options.includes_stop);
  EXPECT_TRUE(options.skips_special_tokens);
  EXPECT_FALSE(options.max_tokens || options.temperature || options.top_p || options.top_k || options.seed ||
               options.logprobs);
  EXPECT_EQ(options.repetition_penalty, 1);
}

TEST(ChatRequest, NullIsAsAbsent) {
  std::string members;
  for (const char* name : {"temperature",
                           "top_p",
                           "n",
                           "stop",
                           "stream",
                           "stream_options",
                           "seed",
                           "logprobs",
                           "top_logprobs",
                           "logit_bias",
                           "max_tokens",
                           "max_completion_tokens",
                           "tools",
                           "tool_choice",
                           "response_format",
                           "user",
                           "metadata",
                           "nvext",
                           "functions",
                           "store",
                           "audio",
                           "no_such_parameter"}) {
    members += std::string(members.empty() ? "" : ",") + "\"" + name + "\":null";
  }
  const RequestOptions options = accepted(body_with(members)).options;
  EXPECT_FALSE(options.max_tokens || options.temperature || options.seed || options.logprobs || options.is_stream);
}

TEST(ChatRequest, EveryOptionIsRead) {
  const RequestOptions options =
      accepted(
          body_with(
              R"("max_tokens":5,"max_completion_tokens":6,"temperature":0,"top_p":0.5,"n":2,"stop":["a","b"],"stream":true,
        "stream_options":{"include_usage":true,"continuous_usage_stats":true,"include_obfuscation":false},"seed":-1,"logprobs":true,"top_logprobs":4,
        "presence_penalty":1,"frequency_penalty":-1,"logit_bias":{"7":-100,"0":1.5},"ignore_eos":true,"min_tokens":3,"top_k":9,"min_p":0.25,
        "repetition_penalty":1.5,"stop_token_ids":[1,2],"skip_special_tokens":false,"include_stop_str_in_output":true,"priority":-4,"cache_salt":"tenant")"))
          .options;
  EXPECT_EQ(options.max_tokens, 6U);
  EXPECT_EQ(options.temperature, 0);
  EXPECT_EQ(options.top_p, 0.5);
  EXPECT_EQ(options.n, 2U);
  EXPECT_THAT(options.stop, ElementsAre("a", "b"));
  EXPECT_TRUE(options.is_stream && options.includes_usage && options.has_continuous_usage);
  EXPECT_EQ(options.seed, std::numeric_limits<uint64_t>::max());
  EXPECT_EQ(options.logprobs, 4U);
  EXPECT_EQ(options.presence_penalty, 1);
  EXPECT_EQ(options.frequency_penalty, -1);
  EXPECT_THAT(options.logit_bias, ElementsAre(Pair(7, -100.0F), Pair(0, 1.5F)));
  EXPECT_TRUE(options.ignores_eos);
  EXPECT_EQ(options.min_tokens, 3U);
  EXPECT_EQ(options.top_k, 9);
  EXPECT_EQ(options.min_p, 0.25);
  EXPECT_EQ(options.repetition_penalty, 1.5);
  EXPECT_THAT(options.stop_token_ids, ElementsAre(1U, 2U));
  EXPECT_FALSE(options.skips_special_tokens);
  EXPECT_TRUE(options.includes_stop);
  EXPECT_EQ(options.priority, -4);
  EXPECT_EQ(options.cache_salt, accepted(body_with(R"("cache_salt":"tenant")")).options.cache_salt);
  EXPECT_NE(options.cache_salt, accepted(body_with(R"("cache_salt":"other")")).options.cache_salt);
  EXPECT_NE(options.cache_salt, kv::Fingerprint());
}

TEST(ChatRequest, ExtensionsCountInNvextAndMoreSoInTheBody) {
  const RequestOptions options =
      accepted(
          body_with(
              R"("top_k":3,"nvext":{"ignore_eos":true,"top_k":5,"min_tokens":2,"min_p":0.5,"repetition_penalty":2,"annotations":["x"]})"))
          .options;
  EXPECT_TRUE(options.ignores_eos);
  EXPECT_EQ(options.top_k, 3);
  EXPECT_EQ(options.min_tokens, 2U);
  EXPECT_EQ(options.min_p, 0.5);
  EXPECT_EQ(options.repetition_penalty, 2);
  EXPECT_EQ(accepted(body_with(R"("top_k":-1)")).options.top_k, 0);
}

TEST(ChatRequest, WhatChangesNothingIsTaken) {
  accepted(body_with(
      R"("user":"u","metadata":{"a":"b"},"store":false,"service_tier":"auto","parallel_tool_calls":true,"response_format":{"type":"text"},
    "modalities":["text"],"prediction":{"type":"content","content":"x"},"safety_identifier":"s","prompt_cache_key":"k","verbosity":"medium")"));
}

TEST(ChatRequest, ToolsGoToTheTemplateUnlessNoneMayBeUsed) {
  const std::string tools =
      R"("tools":[{"type":"function","function":{"name":"f","description":"d","parameters":{"type":"object"},"strict":true}}])";
  EXPECT_EQ(
      boost::json::serialize(accepted(body_with(tools)).tools),
      R"([{"type":"function","function":{"name":"f","description":"d","parameters":{"type":"object"},"strict":true}}])");
  EXPECT_EQ(accepted(body_with(tools + R"(,"tool_choice":"auto")")).tools.size(), 1U);
  EXPECT_TRUE(accepted(body_with(tools + R"(,"tool_choice":"none")")).tools.empty());
}

TEST(ChatRequest, TemplateValuesAreKept) {
  const ChatRequest request = accepted(body_with(
      R"("chat_template_kwargs":{"enable_thinking":false},"reasoning_effort":"low","add_generation_prompt":false)"));
  EXPECT_EQ(boost::json::serialize(request.template_values), R"({"reasoning_effort":"low","enable_thinking":false})");
  EXPECT_FALSE(request.adds_generation_prompt);
  EXPECT_TRUE(
      accepted(body_with(R"("continue_final_message":true,"add_generation_prompt":false)")).continues_final_message);
}

TEST(Messages, PartsAreJoinedToOneText) {
  EXPECT_EQ(messages_of(R"([{"role":"user","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]}])"),
            R"([{"role":"user","content":"a\nb"}])");
}

TEST(Messages, DeveloperIsSystem) {
  EXPECT_EQ(messages_of(R"([{"role":"developer","content":"a","name":"n"}])"),
            R"([{"role":"system","content":"a","name":"n"}])");
}

TEST(Messages, ToolCallsHaveTheirArgumentsAsObjects) {
  EXPECT_EQ(
      messages_of(R"([{"role":"assistant","content":null,"refusal":null,"tool_calls":[
              {"id":"1","type":"function","index":0,"function":{"name":"f","arguments":"{\"x\": [1]}"}},
              {"id":"2","type":"function","function":{"name":"g","arguments":"not json"}},
              {"id":"3","function":{"name":"h","arguments":""}}]},
              {"role":"tool","tool_call_id":"1","content":"42"}])"),
      R"([{"role":"assistant","content":null,"tool_calls":[{"id":"1","type":"function","function":{"name":"f","arguments":{"x":[1]}}},)"
      R"({"id":"2","type":"function","function":{"name":"g","arguments":"not json"}},)"
      R"({"id":"3","type":"function","function":{"name":"h","arguments":{}}}]},{"role":"tool","content":"42","tool_call_id":"1"}])");
}

TEST(Messages, AnAnswerCanBeSentBackAsItCame) {
  EXPECT_EQ(
      messages_of(
          R"([{"role":"assistant","content":"a","refusal":null,"annotations":[],"audio":null,"function_call":null,"tool_calls":null,"reasoning_content":"r"}])"),
      R"([{"role":"assistant","content":"a","reasoning_content":"r"}])");
  EXPECT_EQ(messages_of(R"([{"role":"assistant","content":null,"refusal":"no"}])"),
            R"([{"role":"assistant","content":"no"}])");
}

}  // namespace
}  // namespace dynamo::openai
