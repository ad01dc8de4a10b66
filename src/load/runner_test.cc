// Load put on a server that says what the test wants.
#include "load/runner.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "base/io_threads.h"
#include "http/server.h"

namespace dynamo::load {
namespace {

using testing::Each;
using testing::HasSubstr;
using testing::SizeIs;

// What the server answers, and what it was asked.
struct Script {
  std::string models = R"({"data":[{"id":"some-model"}]})";
  int status = 200;
  std::string answer;

  std::mutex mutex;
  std::vector<std::string> asked;  // bodies
};

Task<void> send_models(Script* script, http::ResponseWriter* out) {
  http::Response response;
  {
    const std::lock_guard lock(script->mutex);
    response.body = script->models;
  }
  static_cast<void>(co_await out->send(std::move(response)));
}

Task<void> send_answer(Script* script, const http::Request* request, http::ResponseWriter* out) {
  http::Response response;
  response.headers.emplace_back("x-dynamo-worker", "worker-3");
  {
    const std::lock_guard lock(script->mutex);
    script->asked.push_back(request->body);
    response.status = script->status;
    response.body = script->answer;
  }
  static_cast<void>(co_await out->send(std::move(response)));
}

constexpr const char* kUsage =
    "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":20,\"completion_tokens\":2,"
    "\"prompt_tokens_details\":{\"cached_tokens\":16}}}\n\ndata: [DONE]\n\n";

class RunnerTest : public testing::Test {
 protected:
  RunnerTest() {
    http::ServerOptions options;
    options.host = "127.0.0.1";
    options.port = 0;
    server_ = http::Server::listen(options, &io_).value();
    server_->route("GET", "/v1/models", [this](const http::Request*, http::ResponseWriter* out) -> Task<void> {
      return send_models(&script_, out);
    });
    for (const char* path : {"/v1/completions", "/v1/chat/completions"})
      server_->route("POST", path, [this](const http::Request* request, http::ResponseWriter* out) -> Task<void> {
        return send_answer(&script_, request, out);
      });
    server_->start();
    options_.urls = {"http://127.0.0.1:" + std::to_string(server_->port())};
    workload_ = synthetic({.conversations = 3, .turns = 2, .input_tokens = 20, .output_tokens = 2});
  }
  ~RunnerTest() override { server_->stop(Clock::steady().now()); }

  Result<RunResult> run_it() {
    return run(options_, workload_, [this](double share) { progress_ = share; });
  }

  void answers(int status, std::string answer) {
    const std::lock_guard lock(script_.mutex);
    script_.status = status;
    script_.answer = std::move(answer);
  }
  std::vector<std::string> asked() {
    const std::lock_guard lock(script_.mutex);
    return script_.asked;
  }

  Script script_;
  IoThreads io_{1};
  std::unique_ptr<http::Server> server_;
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
  EXPECT_THAT(asked(), SizeIs(6));
  EXPECT_THAT(asked(), Each(HasSubstr(R"("model":"some-model")")));
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
  const auto bodies = asked();
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
  {
    const std::lock_guard lock(script_.mutex);
    script_.models = R"({"data":[]})";
  }
  EXPECT_EQ(run_it().status().code(), Code::kNotFound);
  options_.urls = {"ftp://x"};
  EXPECT_EQ(run_it().status().code(), Code::kInvalid);
  server_->stop(Clock::steady().now());
  options_.urls = {"http://127.0.0.1:" + std::to_string(server_->port())};
  EXPECT_EQ(run_it().status().code(), Code::kUnavailable);
}

}  // namespace
}  // namespace dynamo::load
