#include "openai/completion_request.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace dynamo::openai {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

using Ids = std::vector<TokenId>;

CompletionRequest accepted(const std::string& members) {
  CompletionRequest request;
  const auto wrong = parse_completion_request(R"({"model":"m",)" + members + "}", RequestLimits(), &request);
  EXPECT_FALSE(wrong) << members << ": " << wrong->message;
  return request;
}

struct Refused {
  const char* members;
  const char* param;
  Code code;
  const char* message;  // a part of it
};

class RefusedCompletionRequests : public ::testing::TestWithParam<Refused> {};

TEST_P(RefusedCompletionRequests, NameTheParameter) {
  CompletionRequest request;
  const std::string body = std::string(R"({"model":"m","prompt":"p",)") + GetParam().members + "}";
  RequestLimits limits;
  limits.max_generations = 4;
  const auto wrong = parse_completion_request(body, limits, &request);
  ASSERT_TRUE(wrong);
  EXPECT_EQ(wrong->param, GetParam().param);
  EXPECT_EQ(wrong->code, GetParam().code);
  EXPECT_THAT(wrong->message, HasSubstr(GetParam().message));
}

INSTANTIATE_TEST_SUITE_P(
    All, RefusedCompletionRequests,
    ::testing::Values(Refused{R"("prompt":null)", "prompt", Code::kInvalid, "Missing"},
                      Refused{R"("prompt":7)", "prompt", Code::kInvalid, "a string, an array"},
                      Refused{R"("prompt":{})", "prompt", Code::kInvalid, "an object"},
                      Refused{R"("prompt":[])", "prompt", Code::kInvalid, "an empty array"},
                      Refused{R"("prompt":["a",1])", "prompt[1]", Code::kInvalid, "a string"},
                      Refused{R"("prompt":[1,"a"])", "prompt[1]", Code::kInvalid, "an integer"},
                      Refused{R"("prompt":[1,-1])", "prompt[1]", Code::kInvalid, "-1"},
                      Refused{R"("prompt":[1.5])", "prompt[0]", Code::kInvalid, "fraction"},
                      Refused{R"("prompt":[1,4294967296.0])", "prompt[1]", Code::kInvalid, "but got 4294967296"},
                      Refused{R"("prompt":[[1],[2,true]])", "prompt[1][1]", Code::kInvalid, "a boolean"},
                      Refused{R"("prompt":[[1],"a"])", "prompt[1]", Code::kInvalid, "an array of token ids"},
                      Refused{R"("prompt":[null])", "prompt[0]", Code::kInvalid, "an array of token ids"},
                      Refused{R"("prompt":["1","2","3","4","5"])", "prompt", Code::kInvalid,
                              "at most 4 prompts, but got 5"},
                      Refused{R"("prompt":["1","2","3"],"n":2)", "n", Code::kInvalid, "at most 4 answers"},
                      Refused{R"("logprobs":6)", "logprobs", Code::kInvalid, "from 0 to 5"},
                      Refused{R"("logprobs":true)", "logprobs", Code::kInvalid, "an integer"},
                      Refused{R"("logprobs":0,"echo":true)", "echo", Code::kUnsupported, "logprobs"},
                      Refused{R"("best_of":2)", "best_of", Code::kUnsupported, "'n'"},
                      Refused{R"("suffix":"end")", "suffix", Code::kUnsupported, ""},
                      Refused{R"("max_tokens":0)", "max_tokens", Code::kInvalid, "0"},
                      Refused{R"("messages":[])", "messages", Code::kUnsupported, "messages"},
                      Refused{R"("top_logprobs":1)", "top_logprobs", Code::kUnsupported, ""}));

TEST(CompletionRequest, PromptsComeInFourForms) {
  EXPECT_THAT(accepted(R"("prompt":"text")").prompts, ElementsAre(CompletionPrompt("text")));
  EXPECT_THAT(accepted(R"("prompt":["a",""])").prompts, ElementsAre(CompletionPrompt("a"), CompletionPrompt("")));
  EXPECT_THAT(accepted(R"("prompt":[1,2])").prompts, ElementsAre(CompletionPrompt(Ids{1, 2})));
  EXPECT_THAT(accepted(R"("prompt":[1.0,2,3e0])").prompts, ElementsAre(CompletionPrompt(Ids{1, 2, 3})));
  EXPECT_THAT(accepted(R"("prompt":[[1,2],[4294967295]])").prompts,
              ElementsAre(CompletionPrompt(Ids{1, 2}), CompletionPrompt(Ids{4294967295})));
  EXPECT_THAT(accepted(R"("prompt":[[]])").prompts, ElementsAre(CompletionPrompt(Ids{})));
}

TEST(CompletionRequest, OptionsAreRead) {
  const CompletionRequest request =
      accepted(R"("prompt":"p","n":3,"best_of":3,"logprobs":0,"suffix":"","max_tokens":7,"stop":"\n")");
  EXPECT_EQ(request.options.n, 3U);
  EXPECT_EQ(request.options.logprobs, 0U);
  EXPECT_EQ(request.options.max_tokens, 7U);
  EXPECT_THAT(request.options.stop, ElementsAre("\n"));
  EXPECT_FALSE(request.echoes);
  EXPECT_TRUE(accepted(R"("prompt":"p","echo":true)").echoes);
}

}  // namespace
}  // namespace dynamo::openai
