#include "wire/chunk.h"

#include <gtest/gtest.h>

#include "wire/messages.pb.h"

namespace dynamo::wire {
namespace {

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
  proto::Chunk message;
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
}  // namespace dynamo::wire
