#include "rpc/remote_generation.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/this_coro.hpp>

#include <deque>

#include "base/testing/fake_clock.h"
#include "wire/chunk.h"

namespace dynamo::rpc {
namespace {

using std::chrono::seconds;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr Duration kLimit = seconds(4);

// Pieces that come at their times.
class TimedStream final : public Stream {
 public:
  TimedStream(const Clock* clock, std::deque<std::pair<Time, std::string>> pieces)
      : clock_(clock), pieces_(std::move(pieces)) {}

  Task<Result<std::optional<std::string>>> next(Time until) override {
    Timer timer(clock_, co_await boost::asio::this_coro::executor);
    const Time due = pieces_.empty() ? until : std::min(until, pieces_.front().first);
    while (clock_->now() < due) co_await timer.wait(due);
    if (auto piece = next_ready()) co_return piece;
    co_return deadline("the request's time ran out");
  }
  std::optional<std::string> next_ready() override {
    if (pieces_.empty() || pieces_.front().first > clock_->now()) return std::nullopt;
    std::string piece = std::move(pieces_.front().second);
    pieces_.pop_front();
    return piece;
  }

 private:
  const Clock* clock_;
  std::deque<std::pair<Time, std::string>> pieces_;
};

class RemoteGenerationTest : public testing::Test {
 protected:
  void say(Duration at, std::vector<TokenId> tokens, bool is_last = false) {
    TokenChunk chunk;
    chunk.tokens = std::move(tokens);
    if (!chunk.tokens.empty()) chunk.cached_tokens = 16;
    if (is_last) chunk.finish = FinishReason::kLength;
    pieces_.emplace_back(Time() + at, wire::to_bytes(chunk));
  }
  void say_signs_of_life(Duration from, Duration to) {
    for (Duration at = from; at <= to; at += seconds(1)) say(at, {});
  }
  // Reads to the end.
  Status read(Time until = Time::max(), Duration silence_limit = kLimit) {
    RemoteGeneration generation(std::make_unique<TimedStream>(&clock_, std::move(pieces_)), until, silence_limit,
                                &clock_);
    for (;;) {
      auto chunk = next(&generation);
      if (!chunk.is_ok()) return chunk.status();
      signs_ += chunk->is_sign_of_life();
      tokens_.insert(tokens_.end(), chunk->tokens.begin(), chunk->tokens.end());
      EXPECT_EQ(chunk->cached_tokens, chunk->is_sign_of_life() ? 0U : 16U);
      if (chunk->finish) return {};
    }
  }
  Result<TokenChunk> next(Generation* generation) {
    std::optional<Result<TokenChunk>> out;
    boost::asio::io_context io(1);
    boost::asio::co_spawn(io, generation->next(), [&](std::exception_ptr failure, Result<TokenChunk> result) {
      CHECK(failure == nullptr);
      out = std::move(result);
    });
    while (!out) {
      io.restart();
      if (io.poll() == 0) CHECK(clock_.advance_to_next());
    }
    return std::move(*out);
  }
  Duration now() const { return clock_.now() - Time(); }

  FakeClock clock_;
  std::deque<std::pair<Time, std::string>> pieces_;
  std::vector<TokenId> tokens_;
  int signs_ = 0;
};

TEST_F(RemoteGenerationTest, SignsOfLifeCarryARequestBeyondTheSilenceLimit) {
  say_signs_of_life(seconds(1), seconds(60));
  say(seconds(61), {5});
  say_signs_of_life(seconds(62), seconds(90));
  say(seconds(91), {6}, /*is_last=*/true);
  EXPECT_TRUE(read().is_ok());
  EXPECT_THAT(tokens_, ElementsAre(5, 6));
  EXPECT_EQ(signs_, 60 + 29);
}

TEST_F(RemoteGenerationTest, AWorkerThatTakesARequestAndNeverAnswersIsGivenUp) {
  const Status status = read();
  EXPECT_EQ(status.code(), Code::kUnavailable);
  EXPECT_THAT(status.text(), HasSubstr("accepted the request and did not answer: nothing came for 4 s"));
  EXPECT_EQ(now(), kLimit);
}

TEST_F(RemoteGenerationTest, SoIsOneWhoseSignsOfLifeEnd) {
  say_signs_of_life(seconds(1), seconds(10));
  say(seconds(15), {5}, /*is_last=*/true);
  EXPECT_THAT(read().text(), HasSubstr("did not answer"));
  EXPECT_EQ(now(), seconds(10) + kLimit);
}

TEST_F(RemoteGenerationTest, AndOneThatFallsSilentInTheMiddleOfItsAnswer) {
  say(seconds(1), {5});
  say(seconds(2), {6});
  say(seconds(7), {7}, /*is_last=*/true);
  const Status status = read();
  EXPECT_EQ(status.code(), Code::kUnavailable);
  EXPECT_THAT(status.text(), HasSubstr("fell silent in the middle of its answer: nothing came for 4 s"));
  EXPECT_THAT(tokens_, ElementsAre(5, 6));
  EXPECT_EQ(now(), seconds(6));
}

TEST_F(RemoteGenerationTest, TheRequestsOwnDeadlineEndsItWhateverTheWorkerSays) {
  say_signs_of_life(seconds(1), seconds(100));
  EXPECT_EQ(read(Time() + seconds(30)).code(), Code::kDeadline);
  EXPECT_EQ(now(), seconds(30));
}

TEST_F(RemoteGenerationTest, SignsOfLifeWithoutAPauseDoNotOutliveTheDeadline) {
  for (int i = 0; i < 10'000; ++i) say(std::chrono::milliseconds(i), {});
  EXPECT_EQ(read(Time() + seconds(3)).code(), Code::kDeadline);
  EXPECT_EQ(now(), seconds(3));
}

TEST_F(RemoteGenerationTest, WithoutALimitSilenceIsNoFailing) {
  say(seconds(500), {5}, /*is_last=*/true);
  EXPECT_TRUE(read(Time::max(), /*silence_limit=*/Duration(0)).is_ok());
}

TEST_F(RemoteGenerationTest, SignsOfLifeThatWereNotReadAreLostInTheTokensBesideThem) {
  say(seconds(1), {});
  say(seconds(1), {5});
  say(seconds(1), {});
  say(seconds(1), {6}, /*is_last=*/true);
  EXPECT_TRUE(read().is_ok());
  EXPECT_THAT(tokens_, ElementsAre(5, 6));
  EXPECT_EQ(signs_, 0);
}

}  // namespace
}  // namespace dynamo::rpc
