// Who connects to a transport: too many for the descriptors there are, and too many who say nothing.
#include <gtest/gtest.h>
#include <sys/socket.h>

#include "base/testing/no_descriptors.h"
#include "base/testing/patience.h"
#include "transfer/end_metadata.h"
#include "transfer/listener.h"
#include "transfer/shm_socket.h"
#include "transfer/tcp_socket.h"
#include "transfer/testing/end.h"

namespace dynamo::transfer {
namespace {

constexpr Duration kForEver = std::chrono::hours(1);
constexpr size_t kPoolBytes = 4096;

class ListenerTest : public testing::TestWithParam<Backend> {
 protected:
  // A connection to `end` by someone who says nothing.
  static Fd connect_silently(End* end) {
    const std::string& metadata = end->transport().metadata();
    if (end->transport().backend() == "shm")
      return std::move(connect_to(ShmMetadata::parse(metadata)->address)).value();
    const auto parsed = TcpMetadata::parse(metadata);
    const auto address = SocketAddress::of_number(parsed->host, parsed->port);
    return std::move(begin_connect(*address)).value();
  }
  static bool is_closed(const Fd& socket) {
    char byte = 0;
    const ssize_t count = ::recv(socket.get(), &byte, 1, MSG_DONTWAIT);
    return count == 0 || (count < 0 && errno == ECONNRESET);
  }
  // Whether a block of another end arrives.
  static bool takes_a_put(End* receiver) {
    End sender(GetParam(), kPoolBytes, "sender", kForEver);
    fill(sender.data(), kPoolBytes, 1);
    const PutId put = sender.put(sender.add(*receiver), {{0, 0, kPoolBytes}}, "there");
    return drive({&sender, receiver}, [&] { return sender.has_finished(put); }) && sender.how(put).is_ok() &&
           holds(receiver->data(), kPoolBytes, 1);
  }
};

TEST_P(ListenerTest, SleepsWithoutDescriptorsAndTakesTheWaitingWhenSomeAreFree) {
  End end(GetParam(), kPoolBytes, "end", kForEver);
  std::vector<Fd> silent;
  for (int i = 0; i < 4; ++i) silent.push_back(connect_silently(&end));
  {
    const NoDescriptors none;
    int polls = 0;
    for (const Time until = Clock::steady().now() + 3 * Listener::kPause; Clock::steady().now() < until; ++polls)
      end.poll(until);
    EXPECT_LT(polls, 20) << "woken again and again by what it cannot take";
  }
  EXPECT_TRUE(takes_a_put(&end));
}

TEST_P(ListenerTest, ThoseThatSayNothingKeepNobodyOutAndTheOldestOfThemGivesWay) {
  End end(GetParam(), kPoolBytes, "end", kForEver);
  std::vector<Fd> silent;
  for (int i = 0; i < kMostUngreeted + 8; ++i) {
    silent.push_back(connect_silently(&end));
    end.poll(Clock::steady().now());
  }
  EXPECT_TRUE(takes_a_put(&end));
  EXPECT_TRUE(drive({&end}, [&] { return std::ranges::all_of(silent.begin(), silent.begin() + 8, is_closed); }));
  EXPECT_FALSE(is_closed(silent.back()));
}

TEST_P(ListenerTest, OneWhoseHelloHasComeDoesNotGiveWay) {
  End end(GetParam(), kPoolBytes, "end", kForEver);
  End sender(GetParam(), kPoolBytes, "sender", kForEver);
  fill(sender.data(), kPoolBytes, 2);
  const PutId put = sender.put(sender.add(end), {{0, 0, kPoolBytes}}, "there");
  for (int i = 0; i < 3; ++i)
    sender.poll(Clock::steady().now() + std::chrono::milliseconds(5));  // its hello is on its way
  std::vector<Fd> silent;
  for (int i = 0; i < 2 * kMostUngreeted; ++i) silent.push_back(connect_silently(&end));
  ASSERT_TRUE(drive({&sender, &end}, [&] { return sender.has_finished(put); }));
  EXPECT_TRUE(sender.how(put).is_ok()) << sender.how(put).to_string();
}

INSTANTIATE_TEST_SUITE_P(Backends, ListenerTest,
                         testing::Values(Backend{"tcp", make_tcp_transport}, Backend{"shm", make_shm_transport}),
                         [](const auto& info) { return info.param.name; });

TEST(EventPoll, WhatTheSystemDoesNotWatchIsAStatus) {
  const auto poll = std::move(EventPoll::open()).value();
  const Fd file(::open("/proc/self/exe", O_RDONLY | O_CLOEXEC));  // a regular file cannot be watched
  ASSERT_TRUE(file.is_open());
  EXPECT_EQ(poll->add(file.get(), 1, EPOLLIN).code(), Code::kExhausted);
}

}  // namespace
}  // namespace dynamo::transfer
