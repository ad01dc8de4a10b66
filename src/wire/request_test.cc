#include "wire/request.h"

#include <gtest/gtest.h>

#include <functional>

#include "wire/messages.pb.h"

namespace dynamo::wire {
namespace {

GenerateRequest full_request() {
  GenerateRequest request;
  request.id = "r-1";
  request.model = "Qwen/Qwen3-0.6B";
  request.prompt = {.tokens = {1, 2, 4000000000U}, .spans = {{1, 3, {8, 9}}}, .salt = {77, 78}};
  request.sampling = {.temperature = 0.5F,
                      .top_p = 0.9F,
                      .top_k = 7,
                      .min_p = 0.1F,
                      .repetition_penalty = 1.1F,
                      .presence_penalty = -1,
                      .frequency_penalty = 2,
                      .seed = 0xFFFFFFFFFFFFFFFFULL,
                      .logit_bias = {{5, -100.0F}, {6, 3.5F}}};
  request.stop = {.max_tokens = 9, .min_tokens = 2, .stop_token_ids = {2, 3}};
  request.logprobs = 3;
  request.priority = -5;
  request.drawn_before = 1;
  request.prefill_at = {{7, "prefill-worker-1", "10.0.0.1:4711"}, {9, "prefill-worker-2", "[::1]:4711"}};
  return request;
}

GenerateRequest passed(const GenerateRequest& request, Time here = Time(), Time there = Time()) {
  auto read = request_from_bytes(to_bytes(request, here), there);
  return std::get<Result<GenerateRequest>>(std::move(read).value()).value();
}

// As an asker of another make could say it.
Result<GenerateRequest> said(const std::function<void(proto::Generate*)>& change,
                             const GenerateRequest& request = full_request()) {
  proto::Request message;
  CHECK(message.ParseFromString(to_bytes(request, Time())));
  change(message.mutable_generate());
  return std::get<Result<GenerateRequest>>(request_from_bytes(message.SerializeAsString(), Time()).value());
}

TEST(Request, AGenerateRequestComesBackAsItWas) {
  const GenerateRequest sent = full_request();
  const GenerateRequest read = passed(sent);
  EXPECT_EQ(to_bytes(read, Time()), to_bytes(sent, Time()));
  EXPECT_EQ(read.prompt, sent.prompt);
  EXPECT_EQ(read.sampling.seed, sent.sampling.seed);
  EXPECT_EQ(read.sampling.logit_bias, sent.sampling.logit_bias);
  EXPECT_EQ(read.deadline, Time::max());
  EXPECT_EQ(read.priority, -5);
  EXPECT_EQ(read.prefill_at, sent.prefill_at);
}

TEST(Request, APromptWhoseSpansCannotBeIsRefusedByPosition) {
  const Status refused = said([](proto::Generate* m) { m->mutable_spans(0)->set_end(4); }).status();
  EXPECT_EQ(refused.code(), Code::kInvalid);
  EXPECT_NE(refused.text().find("[1, 4)"), std::string::npos) << refused.text();
}

TEST(Request, AnOlderWorkerKnowsASaltByItsLowHalfAndAnOlderFrontendSendsNothingElse) {
  GenerateRequest sent = full_request();
  sent.prompt.salt = kv::salt_of("tenant");
  const auto change = [](proto::Generate* message) {
    EXPECT_NE(message->cache_salt(), 0U);
    message->clear_cache_salt_high();
  };
  EXPECT_EQ(said(change, sent)->prompt.salt, (kv::Fingerprint{sent.prompt.salt.low, 0}));
}

TEST(Request, ADeadlineTravelsAsTheTimeThatIsLeft) {
  GenerateRequest sent = full_request();
  const Time here = Time() + std::chrono::hours(5);
  const Time there = Time() + std::chrono::hours(90);  // another machine's clock
  sent.deadline = here + std::chrono::seconds(3);
  EXPECT_EQ(passed(sent, here, there).deadline, there + std::chrono::seconds(3));
  sent.deadline = here - std::chrono::seconds(3);
  EXPECT_EQ(passed(sent, here, there).deadline, there);
}

TEST(Request, ASilenceLimitTravelsAndMakesNobodySpeakWithoutEnd) {
  GenerateRequest request = full_request();
  EXPECT_EQ(passed(request).silence_limit, Duration(0));
  request.silence_limit = std::chrono::milliseconds(2500);
  EXPECT_EQ(passed(request).silence_limit, request.silence_limit);
  EXPECT_EQ(said([](proto::Generate* m) { m->set_silence_us(1); })->silence_limit, std::chrono::milliseconds(200));
  EXPECT_EQ(said([](proto::Generate* m) { m->set_silence_us(UINT64_MAX); })->silence_limit, Duration(0));
}

TEST(Request, APromptThatIsNoneIsRefused) {
  const auto refused = [](auto change) { return said(change).status().code() == Code::kInvalid; };
  EXPECT_TRUE(refused([](proto::Generate* m) { m->clear_prompt(); }));
  EXPECT_TRUE(refused([](proto::Generate* m) { m->set_max_tokens(0); }));
  EXPECT_TRUE(refused([](proto::Generate* m) { m->mutable_sampling()->clear_biases(); }));
  EXPECT_TRUE(refused([](proto::Generate* m) { m->set_logprobs(1U << 30); }));
}

TEST(Request, AnOrderForAPromptComesBackAsItWas) {
  const PrefillOrder sent{full_request(), 1ULL << 63, 3, {8, 4000000000U}, std::string("card\0", 5)};
  const auto read = request_from_bytes(to_bytes(sent, Time()), Time());
  const PrefillOrder& order = *std::get<Result<PrefillOrder>>(*read);
  EXPECT_EQ(to_bytes(order.request, Time()), to_bytes(sent.request, Time()));
  EXPECT_EQ(order.room, sent.room);
  EXPECT_EQ(order.first_block, sent.first_block);
  EXPECT_EQ(order.blocks, sent.blocks);
  EXPECT_EQ(order.card, sent.card);
  PrefillOrder empty;
  const auto refused = request_from_bytes(to_bytes(empty, Time()), Time());
  EXPECT_EQ(std::get<Result<PrefillOrder>>(*refused).status().code(), Code::kInvalid) << "no prompt";
}

TEST(Request, EveryOtherKindComesBackAsItWas) {
  EXPECT_EQ(std::get<FetchModel>(*request_from_bytes(to_bytes(FetchModel{"abc"}), Time())).digest, "abc");
  EXPECT_TRUE(std::holds_alternative<FetchBlocks>(*request_from_bytes(to_bytes(FetchBlocks()), Time())));
  EXPECT_TRUE(std::holds_alternative<ClearBlocks>(*request_from_bytes(to_bytes(ClearBlocks()), Time())));
  const auto role = request_from_bytes(to_bytes(SetRole{"decode", std::chrono::seconds(60)}), Time());
  EXPECT_EQ(std::get<SetRole>(*role).role, "decode");
  EXPECT_EQ(std::get<SetRole>(*role).drain, std::chrono::seconds(60));
}

TEST(Request, BytesThatAreNoneAndKindsOfALaterVersionAreRefused) {
  EXPECT_EQ(request_from_bytes("\xFF", Time()).status().code(), Code::kCorrupt);
  EXPECT_EQ(request_from_bytes("", Time()).status().code(), Code::kUnsupported);
}

}  // namespace
}  // namespace dynamo::wire
