#include "openai/preparation.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/json/serialize.hpp>

#include <fmt/format.h>

#include "generate/sampling_limits.h"
#include "openai/testing/test_model.h"

namespace dynamo::openai {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::kImEnd;
using testing::kImStart;
using testing::TestDirectory;
using testing::tokens_of;

struct Prepared {
  PreparedRequest request;
  std::optional<ApiError> wrong;
};

Prepared prepare_body(const TestDirectory& directory, Endpoint endpoint, const std::string& members) {
  Prepared prepared;
  prepared.wrong = prepare(endpoint, R"({"model":"test/bytes",)" + members + "}", RequestLimits(), directory,
                           std::chrono::system_clock::time_point(), &prepared.request);
  return prepared;
}

PreparedRequest chat(const std::string& members, const TestDirectory& directory = TestDirectory()) {
  Prepared prepared = prepare_body(directory, Endpoint::kChat, members);
  EXPECT_FALSE(prepared.wrong) << prepared.wrong->message;
  return std::move(prepared.request);
}

PreparedRequest completion(const std::string& members) {
  Prepared prepared = prepare_body(TestDirectory(), Endpoint::kCompletions, members);
  EXPECT_FALSE(prepared.wrong) << prepared.wrong->message;
  return std::move(prepared.request);
}

ApiError refused(Endpoint endpoint, const std::string& members, const TestDirectory& directory = TestDirectory()) {
  Prepared prepared = prepare_body(directory, endpoint, members);
  EXPECT_TRUE(prepared.wrong) << members;
  return prepared.wrong.value_or(ApiError());
}

std::string user(const std::string& text) {
  return R"("messages":[{"role":"user","content":")" + text + "\"}]";
}

std::string prompt_text(const PreparedRequest& request) {
  return request.model->tokenizer->decode(request.prompts.at(0).tokens, false);
}

TEST(PrepareChat, RendersTheTemplateAndTokenizesItsSpecialTokens) {
  const auto request = chat(user("Hi"));
  EXPECT_EQ(prompt_text(request), "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n");
  EXPECT_EQ(request.prompts[0].tokens.front(), kImStart);
  EXPECT_EQ(request.prompts[0].tokens.size(), 21U);
}

TEST(PrepareChat, WithoutMaxTokensTheRestOfTheContextIsTheAnswers) {
  EXPECT_EQ(chat(user("Hi")).prompts[0].max_tokens, 256U - 21);
  EXPECT_EQ(chat(user("Hi") + R"(,"max_tokens":5)").prompts[0].max_tokens, 5U);
  EXPECT_EQ(chat(user("Hi") + R"(,"max_tokens":235)").prompts[0].max_tokens, 235U);
}

TEST(PrepareChat, APromptFarPastTheContextIsRefusedWithoutTokenizingIt) {
  const ApiError prompt = refused(Endpoint::kChat, user(std::string(1000000, 'x')));
  EXPECT_EQ(prompt.error_code, "context_length_exceeded");
  EXPECT_THAT(prompt.message, HasSubstr("256 tokens. However, your prompt of 10000"));
  EXPECT_THAT(refused(Endpoint::kCompletions, R"("prompt":")" + std::string(1000000, 'x') + '"').message,
              HasSubstr("has at least"));
}

TEST(PrepareChat, APromptPastTheContextIsRefusedWithBothNumbers) {
  const ApiError prompt = refused(Endpoint::kChat, user(std::string(300, 'x')));
  EXPECT_EQ(prompt.error_code, "context_length_exceeded");
  EXPECT_EQ(prompt.param, "messages");
  EXPECT_EQ(http_status(prompt.code), 400);
  EXPECT_EQ(prompt.message,
            "This model's maximum context length is 256 tokens. However, your prompt has 319 tokens, and the "
            "completion needs at least one. Please reduce "
            "its length.");
  const ApiError whole = refused(Endpoint::kChat, user("Hi") + R"(,"max_tokens":236)");
  EXPECT_EQ(whole.error_code, "context_length_exceeded");
  EXPECT_THAT(whole.message,
              HasSubstr("256 tokens. However, you requested 257 tokens (21 in the prompt, 236 in the completion)"));
  EXPECT_EQ(refused(Endpoint::kChat, user("Hi") + R"(,"max_tokens":4294967295)").error_code, "context_length_exceeded");
}

TEST(PrepareChat, MinTokensFitIntoMaxTokens) {
  EXPECT_EQ(refused(Endpoint::kChat, user("Hi") + R"(,"min_tokens":6,"max_tokens":5)").param, "min_tokens");
  EXPECT_EQ(refused(Endpoint::kCompletions, R"("prompt":"p","min_tokens":17)").param, "min_tokens");
}

TEST(PrepareChat, TheLastMessageCanBeContinued) {
  const auto continued = [](const std::string& text) {
    return prompt_text(chat(R"("messages":[{"role":"user","content":"Hi"},{"role":"assistant","content":")" + text +
                            R"("}],"add_generation_prompt":false,"continue_final_message":true)"));
  };
  EXPECT_EQ(continued("Once upon"), "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nOnce upon");
  EXPECT_EQ(continued("Once "), "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nOnce ");
}

// The prompt of a conversation whose last message is to be continued, by this template.
std::string continued_by(std::string_view source, const std::vector<std::pair<std::string, std::string>>& messages) {
  TestDirectory directory;
  auto compiled = text::ChatTemplate::compile(source);
  CHECK_OK(compiled);
  directory.model().chat_template = std::move(compiled).value();
  boost::json::array list;
  for (const auto& [role, content] : messages) list.push_back({{"role", role}, {"content", content}});
  return prompt_text(chat("\"messages\":" + boost::json::serialize(list) +
                              R"(,"add_generation_prompt":false,"continue_final_message":true)",
                          directory));
}

TEST(PrepareChat, WhereItGoesOnIsNotSearchedByTheMessagesText) {
  // Texts that stand elsewhere in the prompt, after the message too, or in the template itself.
  for (const std::string text : {"user", "assistant", "im_end", "|", "end|>", "<", "\n", " ", "a", "", "aa", "\t\n "}) {
    SCOPED_TRACE(text);
    EXPECT_EQ(continued_by(testing::kChatMl, {{"user", "a user of im_end"}, {"assistant", text}}),
              "<|im_start|>user\na user of im_end<|im_end|>\n<|im_start|>assistant\n" + text);
  }
  constexpr std::string_view kReminder =
      "{% for m in messages %}[{{ m.role }}]{{ m.content }}[/{{ m.role }}]{% endfor %}Go on after: {{ "
      "messages[0].content }}";
  EXPECT_EQ(continued_by(kReminder, {{"user", "Count: 1"}, {"assistant", "Count: 1"}}),
            "[user]Count: 1[/user][assistant]Count: 1");
  constexpr std::string_view kTwice = "{% for m in messages %}({{ m.content }}) said: {{ m.content }};{% endfor %}";
  EXPECT_EQ(continued_by(kTwice, {{"user", "x"}, {"assistant", "x"}}), "(x) said: x;(x) said: x");
}

TEST(PrepareChat, WhatTheTemplateTrimsOrEscapesIsContinuedAsItShowsIt) {
  constexpr std::string_view kTrims =
      "{% for m in messages %}<{{ m.role }}> {{ m.content | trim }} </{{ m.role }}>{% endfor %}";
  for (const std::string text : {"Once", " Once", "Once ", "\n Once \n\t", "Once\u00a0"})
    EXPECT_EQ(continued_by(kTrims, {{"user", " Once "}, {"assistant", text}}), "<user> Once </user><assistant> Once")
        << text;
  EXPECT_EQ(continued_by(kTrims, {{"user", "Hi"}, {"assistant", "  "}}), "<user> Hi </user><assistant> ");
  constexpr std::string_view kTrimsLines = "{% for m in messages %}{{ m.content.rstrip('\n') }}\n\n{% endfor %}";
  EXPECT_EQ(continued_by(kTrimsLines, {{"user", "Hi\n"}, {"assistant", "Once \n\n"}}), "Hi\n\nOnce ");
  constexpr std::string_view kEscapes = "{% for m in messages %}{{ m.content | tojson }}\n{% endfor %}";
  EXPECT_EQ(continued_by(kEscapes, {{"user", "\"a\""}, {"assistant", "\"a\"\n"}}), "\"\\\"a\\\"\"\n\"\\\"a\\\"\\n");
  constexpr std::string_view kUpper = "{% for m in messages %}{{ m.content | upper }};{% endfor %}";
  EXPECT_EQ(continued_by(kUpper, {{"user", "once"}, {"assistant", "once "}}), "ONCE;ONCE ");
  // Shown only if there is something to show.
  constexpr std::string_view kSkipsEmpty =
      "{% for m in messages %}{% if m.content %}[{{ m.role }}]{{ m.content }}[/]{% endif %}{% endfor %}";
  EXPECT_EQ(continued_by(kSkipsEmpty, {{"user", "x"}, {"assistant", ""}}), "[user]x[/][assistant]");
}

TEST(PrepareChat, AMessageWhoseEndIsNotShownCannotBeContinued) {
  TestDirectory directory;
  directory.model().chat_template =
      text::ChatTemplate::compile("{% for m in messages %}{{ m.content[:3] }};{% endfor %}").value();
  const ApiError error = refused(
      Endpoint::kChat, user("abcdef") + R"(,"add_generation_prompt":false,"continue_final_message":true)", directory);
  EXPECT_EQ(error.param, "continue_final_message");
  EXPECT_EQ(error.code, Code::kInvalid);
}

TEST(PrepareChat, WhatTheTemplateRefusesIsTheMessagesFault) {
  const ApiError error = refused(Endpoint::kChat, R"("messages":[{"role":"tool","tool_call_id":"1","content":"x"}])");
  EXPECT_EQ(error.code, Code::kInvalid);
  EXPECT_EQ(error.param, "messages");
  EXPECT_THAT(error.message, HasSubstr("no tools here"));
}

TEST(PrepareChat, AModelWithoutATemplateHasNoChat) {
  TestDirectory directory;
  directory.model().chat_template = nullptr;
  const ApiError error = refused(Endpoint::kChat, user("Hi"), directory);
  EXPECT_EQ(http_status(error.code), 400);
  EXPECT_EQ(error.param, "model");
}

TEST(PrepareCompletions, PromptsAreTextOrTokenIds) {
  const auto request = completion(R"("prompt":["ab","c"],"n":2)");
  ASSERT_EQ(request.prompts.size(), 2U);
  EXPECT_EQ(request.choices(), 4U);
  EXPECT_EQ(request.prompts[0].tokens, tokens_of("ab"));
  EXPECT_EQ(&request.prompt_of(3), &request.prompts[1]);
  EXPECT_EQ(completion(R"("prompt":[97,257])").prompts[0].tokens, (std::vector<TokenId>{97, kImEnd}));
}

TEST(PrepareCompletions, EchoIsThePromptsText) {
  EXPECT_EQ(completion(R"("prompt":"ab","echo":true)").prompts[0].echo, "ab");
  EXPECT_EQ(completion(R"("prompt":[97,257],"echo":true)").prompts[0].echo, "a");
  EXPECT_EQ(completion(R"("prompt":"ab")").prompts[0].echo, "");
}

TEST(PrepareCompletions, TheDefaultIsSixteenTokensOrWhatIsLeft) {
  EXPECT_EQ(completion(R"("prompt":"ab")").prompts[0].max_tokens, 16U);
  EXPECT_EQ(completion(R"("prompt":")" + std::string(250, 'x') + "\"").prompts[0].max_tokens, 6U);
}

TEST(PrepareCompletions, BadPromptsAreNamed) {
  EXPECT_EQ(refused(Endpoint::kCompletions, R"("prompt":"")").param, "prompt");
  EXPECT_EQ(refused(Endpoint::kCompletions, R"("prompt":["a",""])").param, "prompt[1]");
  EXPECT_EQ(refused(Endpoint::kCompletions, R"("prompt":[[]])").param, "prompt[0]");
  EXPECT_EQ(refused(Endpoint::kCompletions, R"("prompt":[1,258])").param, "prompt[1]");
  EXPECT_EQ(refused(Endpoint::kCompletions, R"("prompt":[[1],[258]])").param, "prompt[1][0]");
}

TEST(Prepare, TokenIdsAreOfTheModel) {
  EXPECT_EQ(refused(Endpoint::kChat, user("Hi") + R"(,"logit_bias":{"257":1,"258":1})").param, "logit_bias.258");
  EXPECT_EQ(refused(Endpoint::kChat, user("Hi") + R"(,"stop_token_ids":[257,258])").param, "stop_token_ids[1]");
}

TEST(Prepare, AnUnknownModelIsNotFound) {
  PreparedRequest request;
  const auto wrong = prepare(Endpoint::kCompletions, R"({"model":"other","prompt":"p"})", RequestLimits(),
                             TestDirectory(), {}, &request);
  ASSERT_TRUE(wrong);
  EXPECT_EQ(http_status(wrong->code), 404);
  EXPECT_EQ(wrong->error_code, "model_not_found");
}

TEST(GenerateRequests, CarryWhatTheClientAskedFor) {
  const auto request = completion(
      R"("prompt":["ab","c"],"n":2,"temperature":0.5,"top_p":0.25,"top_k":3,"seed":5,"stop_token_ids":[7],"logprobs":2,"max_tokens":9)");
  const Time deadline = Time(std::chrono::seconds(9));
  const GenerateRequest made = generate_request(request, 3, "id", deadline);
  EXPECT_EQ(made.id, "id-3");
  EXPECT_EQ(made.model, "test/bytes");
  EXPECT_EQ(made.prompt, (kv::Prompt{.tokens = tokens_of("c"), .spans = {}, .salt = {}}));
  EXPECT_EQ(made.sampling.temperature, 0.5F);
  EXPECT_EQ(made.sampling.top_p, 0.25F);
  EXPECT_EQ(made.sampling.top_k, 3);
  EXPECT_EQ(made.sampling.seed, 6U) << "the second choice of its prompt";
  EXPECT_THAT(made.stop.stop_token_ids, ElementsAre(kImEnd, 7U));
  EXPECT_EQ(made.stop.max_tokens, 9U);
  EXPECT_EQ(made.logprobs, 2U);
  EXPECT_EQ(made.deadline, deadline);
}

TEST(GenerateRequests, AreTheModelsOwnWhereTheClientIsSilent) {
  TestDirectory directory;
  directory.model().card.default_temperature = 0.6F;
  directory.model().card.default_top_p = 0.95F;
  directory.model().card.default_top_k = 20;
  const GenerateRequest made = generate_request(chat(user("Hi"), directory), 0, "id", Time());
  EXPECT_EQ(made.id, "id");
  EXPECT_EQ(made.sampling.temperature, 0.6F);
  EXPECT_EQ(made.sampling.top_p, 0.95F);
  EXPECT_EQ(made.sampling.top_k, 20);
  EXPECT_FALSE(made.sampling.seed || made.logprobs);
  EXPECT_THAT(made.stop.stop_token_ids, ElementsAre(kImEnd));
  const GenerateRequest asked = generate_request(
      chat(user("Hi") + R"(,"temperature":1,"top_p":1e-60,"top_k":0,"ignore_eos":true)", directory), 0, "id", Time());
  EXPECT_EQ(asked.sampling.temperature, 1.0F);
  EXPECT_GT(asked.sampling.top_p, 0);
  EXPECT_EQ(asked.sampling.top_k, 0);
  EXPECT_TRUE(asked.stop.stop_token_ids.empty());
}

TEST(GenerateRequests, AreWithinWhatEnginesBearHoweverCloseToTheEdgeOfTheirRange) {
  for (const char* tiny : {"1e-37", "1e-38", "1e-45", "1e-300", "5e-324"}) {
    std::string members = R"("prompt":"ab")";
    for (const char* name : {"temperature", "top_p", "min_p", "repetition_penalty", "presence_penalty"})
      members += fmt::format(R"(,"{}":{})", name, tiny);
    const GenerateRequest made = generate_request(completion(members), 0, "id", Time());
    EXPECT_TRUE(check_limits(made.sampling).is_ok()) << check_limits(made.sampling).text();
  }
}

}  // namespace
}  // namespace dynamo::openai
