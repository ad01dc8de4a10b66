// Load put on a server that says what the test wants.
#include "load/runner.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "load/testing/scripted_server.h"

namespace dynamo::load {
namespace {

using ::testing::Each;
using ::testing::HasSubstr;
using testing::ScriptedServer;
using ::testing::SizeIs;

constexpr const char* kUsage =
    "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":20,\"completion_tokens\":2,"
    "\"prompt_tokens_details\":{\"cached_tokens\":16}}}\n\ndata: [DONE]\n\n";

class RunnerTest : public ::testing::Test {
 protected:
  RunnerTest() {
    options_.urls = {server_.url()};
    workload_ = synthetic({.conversations = 3, .turns = 2, .input_tokens = 20, .output_tokens = 2});
  }

  Result<RunResult> run_it() {
    return run(options_, workload_, [this](double share) { progress_ = share; });
  }
  void answers(int status, std::string body) { server_.answers(status, {std::move(body)}); }

  ScriptedServer server_;
  RunOptions options_;
  std::vector<Conversation> workload_;
  double progress_ = 0;
};

TEST_F(RunnerTest, EveryTurnIsAskedAndCountedAsTheServerSays) {
  answers(200, std::string("data: {\"choices\":[{\"text\":\"a\"}]}\n\n") +
                   "data: {\"choices\":[{\"text\":\"b\",\"finish_reason\":\"length\"}]}\n\n" + kUsage);
  const auto result = run_it();
  ASSERT_TRUE(result.is_ok()) << result.status().to_string();
  EXPECT_EQ(result->model, "some-model");
  EXPECT_FALSE(result->is_interrupted);
  EXPECT_EQ(progress_, 1);
  ASSERT_THAT(result->samples, SizeIs(6));
  for (const Sample& sample : result->samples) {
    EXPECT_EQ(sample.error, "");
    EXPECT_EQ(sample.prompt_tokens, 20U);
    EXPECT_EQ(sample.cached_tokens, 16U);
    EXPECT_EQ(sample.completion_tokens, 2U);
    EXPECT_EQ(sample.worker, "worker-3");
    EXPECT_LE(sample.first_token, sample.total);
    EXPECT_THAT(sample.gaps, SizeIs(1));
  }
  EXPECT_THAT(server_.asked(), SizeIs(6));
  EXPECT_THAT(server_.asked(), Each(HasSubstr(R"("model":"some-model")")));
}

TEST_F(RunnerTest, AChatSendsTheAnswersBackAndAWarmUpIsNotCounted) {
  answers(200, std::string("data: {\"choices\":[{\"delta\":{\"content\":\"Hello there\"}}]}\n\n") +
                   "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n" + kUsage);
  options_.endpoint = Endpoint::kChat;
  options_.concurrency = 1;
  options_.warmup = 1;
  options_.model = "named";
  const auto result = run_it();
  ASSERT_TRUE(result.is_ok()) << result.status().to_string();
  EXPECT_THAT(result->samples, SizeIs(4));
  const auto bodies = server_.asked();
  ASSERT_THAT(bodies, SizeIs(6));
  for (size_t i = 0; i < 6; ++i) {
    EXPECT_THAT(bodies[i], HasSubstr(R"("model":"named")"));
    const bool has_answer = bodies[i].find(R"({"role":"assistant","content":"Hello there"})") != std::string::npos;
    EXPECT_EQ(has_answer, i % 2 == 1) << bodies[i];
  }
}

TEST_F(RunnerTest, WhatFailsIsASampleWithTheServersWords) {
  answers(503, R"({"error":{"message":"no room"}})");
  const auto refused = run_it();
  ASSERT_TRUE(refused.is_ok());
  ASSERT_FALSE(refused->samples.empty());
  for (const Sample& sample : refused->samples) EXPECT_THAT(sample.error, HasSubstr("no room"));
  answers(200, "data: {\"error\":{\"message\":\"the worker died\"}}\n\n");
  const auto broken = run_it();
  ASSERT_TRUE(broken.is_ok());
  ASSERT_FALSE(broken->samples.empty());
  for (const Sample& sample : broken->samples) EXPECT_EQ(sample.error, "the worker died");
}

TEST_F(RunnerTest, AServerThatIsNotThereOrHasNoModelIsSaid) {
  server_.models(200, R"({"data":[]})");
  EXPECT_EQ(run_it().status().code(), Code::kNotFound);
  options_.urls = {"ftp://x"};
  EXPECT_EQ(run_it().status().code(), Code::kInvalid);
  server_.stop();
  options_.urls = {server_.url()};
  EXPECT_EQ(run_it().status().code(), Code::kUnavailable);
}

}  // namespace
}  // namespace dynamo::load
