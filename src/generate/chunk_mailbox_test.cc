#include "generate/chunk_mailbox.h"

#include <gtest/gtest.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>

#include <thread>

namespace dynamo {
namespace {

TokenChunk chunk_of(std::vector<TokenId> tokens, std::optional<FinishReason> finish = std::nullopt) {
  TokenChunk chunk;
  chunk.tokens = std::move(tokens);
  chunk.finish = finish;
  return chunk;
}

Result<TokenChunk> take(boost::asio::io_context& io, ChunkMailbox& mailbox, Time until = Time::max()) {
  Result<TokenChunk> taken;
  boost::asio::co_spawn(io, mailbox.take(until),
                        [&](std::exception_ptr, Result<TokenChunk> result) { taken = std::move(result); });
  io.restart();
  io.run();
  return taken;
}

TEST(ChunkMailbox, UnreadChunksAreJoinedAndTheLastOneCloses) {
  boost::asio::io_context io;
  auto mailbox = std::make_shared<ChunkMailbox>(io.get_executor());
  mailbox->put(chunk_of({1, 2}));
  mailbox->put(chunk_of({3}, FinishReason::kStop));
  mailbox->put(chunk_of({4}));
  const auto taken = take(io, *mailbox);
  EXPECT_EQ(taken.value().tokens, (std::vector<TokenId>{1, 2, 3}));
  EXPECT_EQ(taken.value().finish, FinishReason::kStop);
}

TEST(ChunkMailbox, ASignOfLifeWaitsForNobodyAndIsLostBesideTokens) {
  boost::asio::io_context io;
  auto mailbox = std::make_shared<ChunkMailbox>(io.get_executor());
  mailbox->put({});
  EXPECT_TRUE(take(io, *mailbox)->is_sign_of_life());
  mailbox->put({});
  TokenChunk first = chunk_of({1});
  first.cached_tokens = 16;
  first.worker = "worker-1";
  mailbox->put(first);
  mailbox->put({});
  mailbox->put(chunk_of({2}, FinishReason::kStop));
  const auto taken = take(io, *mailbox);
  EXPECT_EQ(taken->tokens, (std::vector<TokenId>{1, 2}));
  EXPECT_EQ(taken->cached_tokens, 16U);
  EXPECT_EQ(taken->worker, "worker-1");
  EXPECT_TRUE(taken->finish);
}

TEST(ChunkMailbox, AFailureComesAfterTheChunksBeforeIt) {
  boost::asio::io_context io;
  auto mailbox = std::make_shared<ChunkMailbox>(io.get_executor());
  mailbox->put(chunk_of({1}));
  mailbox->fail(unavailable("worker gone"));
  EXPECT_EQ(take(io, *mailbox).value().tokens, (std::vector<TokenId>{1}));
  EXPECT_EQ(take(io, *mailbox).status().code(), Code::kUnavailable);
}

TEST(ChunkMailbox, WaitingEndsAtTheDeadline) {
  boost::asio::io_context io;
  auto mailbox = std::make_shared<ChunkMailbox>(io.get_executor());
  EXPECT_EQ(take(io, *mailbox, Clock::steady().now() + std::chrono::milliseconds(5)).status().code(), Code::kDeadline);
}

TEST(ChunkMailbox, EveryTokenOfAnotherThreadArrivesInOrder) {
  constexpr TokenId kCount = 20000;
  boost::asio::io_context io;
  auto mailbox = std::make_shared<ChunkMailbox>(io.get_executor());
  std::vector<TokenId> read;
  boost::asio::co_spawn(
      io,
      [](ChunkMailbox* from, std::vector<TokenId>* to) -> Task<void> {
        for (;;) {
          auto taken = co_await from->take(Time::max());
          to->insert(to->end(), taken->tokens.begin(), taken->tokens.end());
          if (taken->finish) co_return;
        }
      }(mailbox.get(), &read),
      boost::asio::detached);
  std::thread writer([&] {
    for (TokenId i = 0; i < kCount; ++i) mailbox->put(chunk_of({i}));
    mailbox->put(chunk_of({kCount}, FinishReason::kLength));
  });
  io.run();
  writer.join();
  ASSERT_EQ(read.size(), kCount + 1);
  for (TokenId i = 0; i <= kCount; ++i) ASSERT_EQ(read[i], i);
}

}  // namespace
}  // namespace dynamo
