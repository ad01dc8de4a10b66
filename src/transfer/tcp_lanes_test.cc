#include "transfer/tcp_lanes.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <optional>

#include "transfer/tcp_incoming.h"

namespace dynamo::transfer {
namespace {

using Cancelled = TcpOutgoing::Cancelled;
using Puts = std::vector<PutId>;

constexpr uint64_t kPart = 1024;
constexpr uint64_t kPool = 32 * kPart;
const std::string kHello = hello_of("secret");

// A peer whose lanes end in receivers of one pool; bytes go when a test says so.
class TcpLanesTest : public testing::Test {
 protected:
  struct Lane {
    TcpOutgoing outgoing;
    TcpIncoming incoming;
    std::string replies;       // of the receiver, which have not come yet
    uint64_t data_bytes = 0;   // that went, but for frames' tables
    std::string last_replies;  // all that have come
  };

  TcpLanesTest() {
    for (size_t at = 0; at < kPool; ++at) from_[at] = static_cast<std::byte>(at * 7 + at / 256);
    for (std::optional<Lane>& lane : lane_) {
      lane.emplace(TcpOutgoing(kHello, from_), TcpIncoming(kHello, to_, &writer_));
      lane->outgoing.begin();
      lanes_.add(&lane->outgoing);
      send(&*lane);
      answer(&*lane);
    }
  }

  Lane* lane(size_t at) { return &*lane_[at]; }
  void put(PutId id, uint64_t bytes) {
    const Copy copy{0, kPool - bytes, bytes};
    lanes_.put(id, std::span(&copy, 1), std::to_string(id), kNoPermit);
  }
  // One batch of `lane` arrives. Returns: its bytes.
  size_t send(Lane* lane) {
    const std::span<iovec> parts = lanes_.next_parts(&lane->outgoing);
    std::string bytes;
    for (const iovec& part : parts) {
      bytes.append(static_cast<const char*>(part.iov_base), part.iov_len);
      const auto* start = static_cast<const std::byte*>(part.iov_base);
      if (start >= from_.data() && start < from_.data() + from_.size()) lane->data_bytes += part.iov_len;
    }
    lane->outgoing.sent(bytes.size());
    for (std::string_view left = bytes; !left.empty();) {
      iovec places[TcpIncoming::kMostParts];
      lane->incoming.next_parts(places);
      const size_t count = std::min(left.size(), places[0].iov_len);
      std::memcpy(places[0].iov_base, left.data(), count);
      left.remove_prefix(count);
      EXPECT_TRUE(lane->incoming.received(count, &notifications_, &lane->replies).is_ok());
    }
    return bytes.size();
  }
  void send_all(Lane* lane) {
    while (send(lane) > 0) {
    }
  }
  void answer(Lane* lane) {
    EXPECT_TRUE(lanes_.received(&lane->outgoing, lane->replies, &acknowledged_, &cancelled_).is_ok());
    lane->last_replies += std::exchange(lane->replies, {});
  }
  void send_all_and_answer() {
    for (int round = 0; round < 4; ++round) {
      for (std::optional<Lane>& lane : lane_) {
        send_all(&*lane);
        answer(&*lane);
      }
    }
  }
  bool has_arrived(uint64_t bytes) const { return std::memcmp(to_.data() + kPool - bytes, from_.data(), bytes) == 0; }

  std::vector<std::byte> from_ = std::vector<std::byte>(kPool);
  std::vector<std::byte> to_ = std::vector<std::byte>(kPool);
  PermitWriter writer_;
  TcpLanes lanes_{kPart};
  std::array<std::optional<Lane>, 3> lane_;
  std::vector<std::string> notifications_;
  Puts acknowledged_, cancelled_;
};

TEST_F(TcpLanesTest, APutOfFewPartsStaysOnOneLane) {
  put(1, TcpLanes::kWholeParts * kPart);
  send_all(lane(1));
  EXPECT_EQ(notifications_, std::vector<std::string>{"1"});
  EXPECT_TRUE(has_arrived(TcpLanes::kWholeParts * kPart));
  answer(lane(1));
  EXPECT_EQ(acknowledged_, Puts{1});
  EXPECT_FALSE(lanes_.has_puts());
}

TEST_F(TcpLanesTest, SeveralSmallPutsGoAtOnce) {
  for (PutId id = 1; id <= 10; ++id) put(id, 10);
  send(lane(0));
  EXPECT_EQ(notifications_.size(), 10);
}

TEST_F(TcpLanesTest, EachLaneTakesAPartOfALargePutWhenItRunsDry) {
  put(1, 8 * kPart);
  EXPECT_EQ(lanes_.undealt_bytes(), 8 * kPart);
  for (int part = 0; part < 5; ++part) send(lane(0));
  send(lane(2));
  EXPECT_EQ(lanes_.undealt_bytes(), 2 * kPart);
  EXPECT_EQ(lane(0)->data_bytes, 5 * kPart);
  EXPECT_EQ(lane(1)->data_bytes, 0);
  EXPECT_EQ(lane(2)->data_bytes, kPart);
  EXPECT_TRUE(lane(2)->outgoing.has_puts()) << "its loss would lose a part";
  EXPECT_FALSE(lane(1)->outgoing.has_puts());
}

TEST_F(TcpLanesTest, ALargePutThatOneLaneCarriedIsNotifiedWithoutARoundTrip) {
  put(1, 8 * kPart);
  send_all(lane(0));
  EXPECT_EQ(notifications_, std::vector<std::string>{"1"});
  EXPECT_TRUE(has_arrived(8 * kPart));
  answer(lane(0));
  EXPECT_EQ(acknowledged_, Puts{1});
}

TEST_F(TcpLanesTest, TheNotificationOfASplitPutWaitsForEveryLaneThatCarriedIt) {
  put(1, 9 * kPart);
  for (int part = 0; part < 3; ++part)
    for (size_t at = 0; at < 3; ++at) send(lane(at));
  EXPECT_TRUE(has_arrived(9 * kPart));
  for (size_t at = 0; at < 3; ++at) {
    EXPECT_TRUE(notifications_.empty()) << at;
    send_all(lane(at));
    answer(lane(at));
  }
  EXPECT_TRUE(lanes_.has_puts());
  send_all(lane(1));
  EXPECT_EQ(notifications_, std::vector<std::string>{"1"});
  answer(lane(1));
  EXPECT_EQ(acknowledged_, Puts{1});
  EXPECT_FALSE(lanes_.has_puts());
  for (size_t at = 0; at < 3; ++at) EXPECT_FALSE(lane(at)->outgoing.has_puts());
}

TEST_F(TcpLanesTest, APutCancelledBeforeItWasDealtIsOverAtOnce) {
  put(1, 8 * kPart);
  EXPECT_EQ(lanes_.cancel(1), Cancelled::kNow);
  EXPECT_EQ(lanes_.cancel(1), Cancelled::kNo);
  EXPECT_EQ(lanes_.undealt_bytes(), 0);
  EXPECT_EQ(send(lane(0)), 0);
  EXPECT_FALSE(lanes_.has_puts());
}

TEST_F(TcpLanesTest, ACancelledSplitPutEndsWhenAllLanesHaveAnswered) {
  put(1, 20 * kPart);
  for (int part = 0; part < 3; ++part)
    for (size_t at = 0; at < 2; ++at) send(lane(at));
  EXPECT_EQ(lanes_.cancel(1), Cancelled::kLater);
  EXPECT_EQ(lanes_.cancel(1), Cancelled::kLater);
  EXPECT_EQ(lanes_.undealt_bytes(), 0);
  send_all(lane(0));
  answer(lane(0));
  EXPECT_EQ(cancelled_, Puts{});
  send_all(lane(1));
  answer(lane(1));
  EXPECT_EQ(cancelled_, Puts{1});
  send_all_and_answer();
  EXPECT_TRUE(notifications_.empty());
  EXPECT_FALSE(lanes_.has_puts());
}

TEST_F(TcpLanesTest, ASplitPutCancelledWhileItLandsIsNotNotified) {
  put(1, 6 * kPart);
  for (int part = 0; part < 3; ++part)
    for (size_t at = 0; at < 2; ++at) send(lane(at));
  send_all(lane(0));
  answer(lane(0));
  EXPECT_EQ(lanes_.cancel(1), Cancelled::kLater);
  send_all_and_answer();
  EXPECT_EQ(cancelled_, Puts{1});
  EXPECT_TRUE(notifications_.empty());
}

TEST_F(TcpLanesTest, ASplitPutCancelledAfterItHasLandedIsOverAtOnce) {
  put(1, 6 * kPart);
  for (int part = 0; part < 3; ++part)
    for (size_t at = 0; at < 2; ++at) send(lane(at));
  for (size_t at = 0; at < 2; ++at) send(lane(at));
  for (size_t at = 0; at < 2; ++at) answer(lane(at));
  EXPECT_EQ(lanes_.cancel(1), Cancelled::kNow);
  send_all_and_answer();
  EXPECT_TRUE(notifications_.empty());
  EXPECT_FALSE(lanes_.has_puts());
}

TEST_F(TcpLanesTest, ALargePutOnOneLaneCancelledBeforeItsLastPartIsAskedFor) {
  put(1, 5 * kPart);
  for (int part = 0; part < 4; ++part) send(lane(0));
  EXPECT_EQ(lanes_.cancel(1), Cancelled::kLater);
  put(2, 10);
  send_all_and_answer();
  EXPECT_EQ(cancelled_, Puts{1});
  EXPECT_EQ(notifications_, std::vector<std::string>{"2"});
}

TEST_F(TcpLanesTest, ASmallPutDoesNotWaitForALargeOneToLand) {
  put(1, 6 * kPart);
  put(2, 10);
  for (int part = 0; part < 3; ++part)
    for (size_t at = 0; at < 2; ++at) send(lane(at));
  send(lane(2));
  EXPECT_EQ(notifications_, std::vector<std::string>{"2"});
  send_all_and_answer();
  EXPECT_EQ(notifications_, (std::vector<std::string>{"2", "1"}));
}

TEST_F(TcpLanesTest, EveryUnfinishedPutIsTakenOnce) {
  put(1, 10);
  send(lane(2));  // not acknowledged
  put(2, 6 * kPart);
  for (int part = 0; part < 3; ++part)
    for (size_t at = 0; at < 2; ++at) send(lane(at));  // asked for
  put(3, 6 * kPart);
  for (size_t at = 0; at < 2; ++at) send(lane(at));
  EXPECT_EQ(lanes_.cancel(3), Cancelled::kLater);
  put(4, 6 * kPart);
  for (int batch = 0; batch < 2; ++batch)
    for (size_t at = 0; at < 3; ++at) send(lane(at));  // begun
  put(5, 10);
  TcpLanes::Unfinished left = lanes_.take_puts();
  std::ranges::sort(left.puts);
  EXPECT_EQ(left.puts, (Puts{1, 2, 4, 5}));
  EXPECT_EQ(left.cancelled, Puts{3});
  EXPECT_FALSE(lanes_.has_puts());
}

}  // namespace
}  // namespace dynamo::transfer
