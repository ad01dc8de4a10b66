#include "rpc/generate_messages.h"

#include <gtest/gtest.h>

#include "wire/messages.pb.h"

namespace dynamo::rpc {
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

TEST(GenerateMessage, ARequestComesBackAsItWas) {
  const GenerateRequest sent = full_request();
  wire::Generate message;
  to_message(sent, Time(), &message);
  const auto read = from_message(message, Time());
  ASSERT_TRUE(read.is_ok()) << read.status().to_string();
  wire::Generate again;
  to_message(*read, Time(), &again);
  EXPECT_EQ(again.SerializeAsString(), message.SerializeAsString());
  EXPECT_EQ(read->prompt, sent.prompt);
  EXPECT_EQ(read->sampling.seed, sent.sampling.seed);
  EXPECT_EQ(read->sampling.logit_bias, sent.sampling.logit_bias);
  EXPECT_EQ(read->deadline, Time::max());
  EXPECT_EQ(read->priority, -5);
  EXPECT_EQ(read->prefill_at, sent.prefill_at);
}

TEST(GenerateMessage, APromptWhoseSpansCannotBeIsRefusedByPosition) {
  wire::Generate message;
  to_message(full_request(), Time(), &message);
  message.mutable_spans(0)->set_end(4);
  const Status refused = from_message(message, Time()).status();
  EXPECT_EQ(refused.code(), Code::kInvalid);
  EXPECT_NE(refused.text().find("[1, 4)"), std::string::npos) << refused.text();
}

TEST(GenerateMessage, AnOlderWorkerKnowsASaltByItsLowHalfAndAnOlderFrontendSendsNothingElse) {
  GenerateRequest sent = full_request();
  sent.prompt.salt = kv::salt_of("tenant");
  wire::Generate message;
  to_message(sent, Time(), &message);
  EXPECT_NE(message.cache_salt(), 0U);
  message.clear_cache_salt_high();
  EXPECT_EQ(from_message(message, Time())->prompt.salt, (kv::Fingerprint{sent.prompt.salt.low, 0}));
}

TEST(GenerateMessage, ADeadlineTravelsAsTheTimeThatIsLeft) {
  GenerateRequest sent = full_request();
  const Time here = Time() + std::chrono::hours(5);
  const Time there = Time() + std::chrono::hours(90);  // another machine's clock
  sent.deadline = here + std::chrono::seconds(3);
  wire::Generate message;
  to_message(sent, here, &message);
  EXPECT_EQ(from_message(message, there)->deadline, there + std::chrono::seconds(3));
  sent.deadline = here - std::chrono::seconds(3);
  to_message(sent, here, &message);
  EXPECT_EQ(from_message(message, there)->deadline, there);
}

TEST(GenerateMessage, ASilenceLimitTravelsAndMakesNobodySpeakWithoutEnd) {
  GenerateRequest request = full_request();
  wire::Generate message;
  to_message(request, Time(), &message);
  EXPECT_EQ(from_message(message, Time())->silence_limit, Duration(0));
  request.silence_limit = std::chrono::milliseconds(2500);
  to_message(request, Time(), &message);
  EXPECT_EQ(from_message(message, Time())->silence_limit, request.silence_limit);
  message.set_silence_us(1);
  EXPECT_EQ(from_message(message, Time())->silence_limit, std::chrono::milliseconds(200));
  message.set_silence_us(UINT64_MAX);
  EXPECT_EQ(from_message(message, Time())->silence_limit, Duration(0));
}

TEST(GenerateMessage, WhatIsNoRequestIsRefused) {
  const auto refused = [](auto change) {
    wire::Generate message;
    to_message(full_request(), Time(), &message);
    change(&message);
    return from_message(message, Time()).status().code() == Code::kInvalid;
  };
  EXPECT_TRUE(refused([](wire::Generate* m) { m->clear_prompt(); }));
  EXPECT_TRUE(refused([](wire::Generate* m) { m->set_max_tokens(0); }));
  EXPECT_TRUE(refused([](wire::Generate* m) { m->mutable_sampling()->clear_biases(); }));
  EXPECT_TRUE(refused([](wire::Generate* m) { m->set_logprobs(1U << 30); }));
}

TEST(ChunkBytes, AChunkComesBackAsItWasAndPiecesJoin) {
  TokenChunk chunk;
  chunk.tokens = {5, 6};
  chunk.logprobs = {{{5, -0.5F}, {{5, -0.5F}, {9, -1.5F}}}, {{6, -2.0F}, {}}};
  chunk.cached_tokens = 32;
  chunk.worker = "worker-1";
  auto read = chunk_from_bytes(to_bytes(chunk));
  ASSERT_TRUE(read.is_ok());
  EXPECT_EQ(read->tokens, chunk.tokens);
  ASSERT_EQ(read->logprobs.size(), 2U);
  EXPECT_EQ(read->logprobs[0].top[1].token, 9U);
  EXPECT_EQ(read->logprobs[1].drawn.logprob, -2.0F);
  EXPECT_FALSE(read->finish);
  TokenChunk last;
  last.tokens = {7};
  last.finish = FinishReason::kStop;
  last.cached_tokens = 32;
  append(*chunk_from_bytes(to_bytes(last)), &*read);
  EXPECT_EQ(read->tokens, (std::vector<TokenId>{5, 6, 7}));
  EXPECT_EQ(read->finish, FinishReason::kStop);
  EXPECT_EQ(read->worker, "worker-1");
}

TEST(ChunkBytes, ASignOfLifeIsAPieceAndLeavesNoTraceInTheChunksThatItJoins) {
  const std::string sign = to_bytes(TokenChunk());
  EXPECT_FALSE(sign.empty());  // which no piece may be
  ASSERT_TRUE(chunk_from_bytes(sign)->is_sign_of_life());
  TokenChunk chunk;
  chunk.tokens = {5};
  chunk.cached_tokens = 32;
  TokenChunk joined = *chunk_from_bytes(sign);
  append(chunk, &joined);
  append(*chunk_from_bytes(sign), &joined);
  EXPECT_EQ(joined.tokens, chunk.tokens);
  EXPECT_EQ(joined.cached_tokens, 32U);
}

TEST(ChunkBytes, WhatIsNoChunkIsCorrupt) {
  EXPECT_EQ(chunk_from_bytes("\xFF").status().code(), Code::kCorrupt);
  wire::Chunk message;
  message.set_finish(9);
  EXPECT_EQ(chunk_from_bytes(message.SerializeAsString()).status().code(), Code::kCorrupt);
  message.set_finish(0);
  message.add_logprob_counts(4000000000U);
  EXPECT_EQ(chunk_from_bytes(message.SerializeAsString()).status().code(), Code::kCorrupt);
  TokenChunk uneven;  // whose are they?
  uneven.tokens = {1, 2};
  uneven.logprobs = {TokenLogprobs{{1, -1}, {}}};
  EXPECT_EQ(chunk_from_bytes(to_bytes(uneven)).status().code(), Code::kCorrupt);
}

}  // namespace
}  // namespace dynamo::rpc
