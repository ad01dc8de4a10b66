#include "openai/generation_set.h"

#include <gtest/gtest.h>

#include <map>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "generate/chunk_mailbox.h"

namespace dynamo::openai {
namespace {

// Reads from a mailbox that the test fills, and says when it is gone.
class MailboxGeneration final : public Generation {
 public:
  MailboxGeneration(std::shared_ptr<ChunkMailbox> mailbox, int* alive) : mailbox_(std::move(mailbox)), alive_(alive) {
    ++*alive_;
  }
  ~MailboxGeneration() override { --*alive_; }
  Task<Result<TokenChunk>> next() override { co_return co_await mailbox_->take(Time::max()); }

 private:
  std::shared_ptr<ChunkMailbox> mailbox_;
  int* alive_;
};

struct Fixture {
  explicit Fixture(size_t count) {
    std::vector<std::unique_ptr<Generation>> generations;
    for (size_t i = 0; i < count; ++i) {
      mailboxes.push_back(std::make_shared<ChunkMailbox>(io.get_executor()));
      generations.push_back(std::make_unique<MailboxGeneration>(mailboxes.back(), &alive));
    }
    set.emplace(std::move(generations));
  }
  void put(size_t choice, TokenId token, bool is_last = false) {
    TokenChunk chunk;
    chunk.tokens = {token};
    if (is_last) chunk.finish = FinishReason::kLength;
    mailboxes[choice]->put(chunk);
  }
  // One next(): choice -> its tokens, or none for a failure.
  std::map<uint32_t, std::vector<TokenId>> next() {
    std::map<uint32_t, std::vector<TokenId>> out;
    boost::asio::co_spawn(io, set->next(), [&](std::exception_ptr, std::vector<GenerationSet::Arrival> arrived) {
      for (const auto& one : arrived)
        out[one.choice] = one.chunk.is_ok() ? one.chunk.value().tokens : std::vector<TokenId>();
      io.stop();
    });
    io.restart();
    io.run();
    return out;
  }

  using Arrived = std::map<uint32_t, std::vector<TokenId>>;
  boost::asio::io_context io;
  int alive = 0;
  std::vector<std::shared_ptr<ChunkMailbox>> mailboxes;
  std::optional<GenerationSet> set;
};

TEST(GenerationSet, WhatIsReadyTogetherArrivesTogether) {
  Fixture fixture(3);
  fixture.put(0, 10);
  fixture.put(2, 12);
  EXPECT_EQ(fixture.next(), (Fixture::Arrived{{0, {10}}, {2, {12}}}));
  fixture.put(1, 11);
  EXPECT_EQ(fixture.next(), (Fixture::Arrived{{1, {11}}}));
}

TEST(GenerationSet, EndsOneByOne) {
  for (const size_t count : {1U, 2U}) {
    Fixture fixture(count);
    EXPECT_EQ(fixture.set->running(), count);
    for (size_t i = 0; i < count; ++i) {
      fixture.put(i, 1, /*is_last=*/true);
      EXPECT_EQ(fixture.next().count(i), 1U);
      EXPECT_EQ(fixture.set->running(), count - i - 1);
    }
    EXPECT_EQ(fixture.alive, 0);
  }
}

TEST(GenerationSet, AFailureEndsItsChoiceOnly) {
  Fixture fixture(2);
  fixture.mailboxes[0]->fail(unavailable("gone"));
  EXPECT_EQ(fixture.next(), (Fixture::Arrived{{0, {}}}));
  EXPECT_EQ(fixture.set->running(), 1U);
}

TEST(GenerationSet, ADroppedChoiceIsCancelledAndSilent) {
  Fixture fixture(2);
  fixture.put(0, 1);
  fixture.next();  // leaves a read of the other waiting
  fixture.set->drop(1);
  fixture.put(1, 2);
  fixture.put(0, 3);
  EXPECT_EQ(fixture.next(), (Fixture::Arrived{{0, {3}}}));
  fixture.io.restart();
  fixture.io.poll();
  EXPECT_EQ(fixture.set->running(), 1U);
  EXPECT_EQ(fixture.alive, 1);
}

TEST(GenerationSet, DestroyingItCancelsWhatIsWaited) {
  Fixture fixture(3);
  fixture.put(0, 1);
  fixture.next();
  fixture.set.reset();
  fixture.io.restart();
  fixture.io.poll();
  EXPECT_EQ(fixture.alive, 0);
}

TEST(GenerationSet, ASlowReaderGetsTheTokensInOneChunk) {
  Fixture fixture(2);
  fixture.put(0, 1);
  fixture.next();
  for (TokenId token = 2; token < 100; ++token) fixture.put(0, token);
  std::vector<TokenId> all;
  while (all.size() < 98) {
    auto arrived = fixture.next();
    all.insert(all.end(), arrived[0].begin(), arrived[0].end());
  }
  for (TokenId i = 0; i < 98; ++i) EXPECT_EQ(all[i], i + 2);
}

}  // namespace
}  // namespace dynamo::openai
