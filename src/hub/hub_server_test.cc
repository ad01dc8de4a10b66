// What the hub does with clients that break its protocol or do not keep up, and what clients do without a hub.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/testing/patience.h"
#include "discovery/testing/seen_changes.h"
#include "hub/hub_client.h"
#include "hub/hub_protocol.h"
#include "hub/testing/hub_host.h"
#include "hub/testing/raw_peer.h"

namespace dynamo::hub {
namespace {

using message::FromHub;
using message::Request;
using testing::AllOf;
using testing::HasSubstr;
using wire::FrameType;

// The text of the error frame that ends the connection; anything before it is skipped.
std::string farewell(RawPeer* peer) {
  std::string text;
  while (const auto frame = peer->next()) {
    if (frame->type == FrameType::kError) text = frame->payload;
  }
  return text;
}

std::string frame_with(FrameType type, uint32_t stream, std::string_view payload) {
  std::string frame;
  wire::append_frame(type, stream, payload, &frame);
  return frame;
}

TEST(HubServer, SaysWhyItRefusesBytes) {
  HubHost hub;
  Request bad_subject;
  bad_subject.mutable_publish()->set_subject("a.*");
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"GET / HTTP/1.1\r\n\r\n", "a frame of"},
      {frame_with(FrameType::kRequest, 0, ""), "no hello"},
      {hello_frame(0) + frame_with(FrameType::kRequest, 0, "\xff\xff"), "cannot be read"},
      {hello_frame(0) + frame_with(FrameType::kRequest, 0, ""), "nothing"},
      {hello_frame(0) + frame_with(FrameType::kRequest, 3, ""), "stream"},
      {hello_frame(0) + frame_with(FrameType::kCredit, 0, ""), "do not send"},
      {hello_frame(0) + std::string("\0\0\0\x7f\2\0\0\0\0\0\0\0", 12), "at most"},
      {hello_frame(0) + frame_of(bad_subject), "wildcard"},
  };
  for (const auto& [bytes, reason] : cases) {
    RawPeer peer(hub.port());
    peer.send_bytes(bytes);
    EXPECT_THAT(farewell(&peer), HasSubstr(reason));
  }
  EXPECT_TRUE(hub.client()->list("", soon()).is_ok());  // nobody else has noticed
}

TEST(HubServer, RefusesAnotherVersionNamingBoth) {
  HubHost hub;
  message::Hello hello;
  hello.set_version(kProtocolVersion + 41);
  RawPeer peer(hub.port());
  peer.send_bytes(frame_with(FrameType::kHello, 0, hello.SerializeAsString()));
  EXPECT_THAT(farewell(&peer), AllOf(HasSubstr("version 42"), HasSubstr("version 1")));
}

TEST(HubServer, CutsASilentClient) {
  HubOptions options;
  options.max_silence = std::chrono::milliseconds(300);
  HubHost hub(options);
  RawPeer peer(hub.port());
  peer.greet();
  EXPECT_FALSE(peer.next());
}

TEST(HubServer, CountsForASlowClientWhatItDrops) {
  HubOptions options;
  options.limits.queued_bytes = 4U << 20;
  HubHost hub(options);
  RawPeer slow(hub.port());
  slow.greet();
  Request subscribe;
  subscribe.set_id(1);
  subscribe.mutable_subscribe()->set_pattern(">");
  slow.send(subscribe);
  ASSERT_TRUE(slow.next_message().has_answer());
  const auto publisher = hub.client();
  constexpr uint64_t kMessages = 64;
  for (uint64_t i = 0; i < kMessages; ++i) {
    publisher->publish("s", std::string(events::kMaxMessageBytes, 'x'));
    if (i % 4 != 3) continue;
    ASSERT_TRUE(publisher->flush(soon()).is_ok());  // else it would itself drop what it cannot send at once
  }
  uint64_t delivered = 0;
  uint64_t dropped = 0;
  while (delivered + dropped < kMessages) {
    const FromHub message = slow.next_message();
    ASSERT_TRUE(message.has_event() || message.has_dropped());
    (message.has_event() ? delivered : dropped) += message.has_event() ? 1 : message.dropped().events();
  }
  EXPECT_EQ(delivered + dropped, kMessages);
  EXPECT_GT(dropped, 0U);
}

TEST(HubServer, CutsAClientThatDoesNotTakeKeyChanges) {
  HubOptions options;
  options.limits.queued_bytes = 1U << 20;
  HubHost hub(options);
  RawPeer slow(hub.port());
  slow.greet();
  Request watch;
  watch.set_id(1);
  watch.mutable_watch()->set_watch(1);
  slow.send(watch);
  const auto writer = hub.client();
  for (int i = 0; i < 64; ++i)
    ASSERT_TRUE(writer->write("k", std::to_string(i) + std::string(512U << 10, 'x'), soon()).is_ok());
  int taken = 0;
  while (slow.next()) ++taken;
  EXPECT_LT(taken, 64);
}

// A hub, and what somebody sees who watches all its keys.
class HubServerLease : public testing::Test {
 protected:
  void SetUp() override { ASSERT_TRUE(seen.wait_for_first()); }

  HubHost hub;
  discovery::SeenChanges seen;
  const std::unique_ptr<discovery::Registry> watcher = hub.client();
  const std::unique_ptr<discovery::Watch> watch = watcher->watch("", seen.callback());
};

TEST_F(HubServerLease, OfAConnectionThatBrokeIsTakenOver) {
  Request grant;
  grant.set_id(1);
  grant.mutable_grant()->set_lease(5);
  grant.mutable_grant()->set_time_to_live_ms(60000);
  message::KeyValue& wish = *grant.mutable_grant()->add_wishes();
  wish.set_key("old");
  *grant.mutable_grant()->add_wishes() = wish;
  grant.mutable_grant()->mutable_wishes(1)->set_key("stays");
  {
    RawPeer first(hub.port());
    first.greet();
    first.send(grant);
    ASSERT_TRUE(first.next_message().has_answer());
  }
  grant.mutable_grant()->mutable_wishes(0)->set_key("new");
  RawPeer second(hub.port());
  second.greet();
  second.send(grant);
  ASSERT_EQ(second.next_message().answer().outcome(), message::DONE);
  EXPECT_TRUE(seen.wait_for({{"old", ""}, {"stays", ""}, {"old", std::nullopt}, {"new", ""}}));
}

// As when the hub stood still, and reads what it was sent meanwhile by both.
TEST_F(HubServerLease, ThatWasTakenOverIsNotChangedByWhatComesLateOnTheConnectionBefore) {
  const auto ask = [](RawPeer* peer, auto fill) {
    Request request;
    request.set_id(1);
    fill(&request);
    peer->send(request);
    return peer->next_message().answer().outcome();
  };
  const auto grant = [](const char* value) {
    return [value](Request* request) {
      request->mutable_grant()->set_lease(5);
      request->mutable_grant()->set_time_to_live_ms(60000);
      message::KeyValue& wish = *request->mutable_grant()->add_wishes();
      wish.set_key("key");
      wish.set_value(value);
    };
  };
  const auto put = [](const char* key, const char* value, bool is_claim) {
    return [=](Request* request) {
      request->mutable_put()->set_lease(5);
      request->mutable_put()->set_key(key);
      request->mutable_put()->set_value(value);
      request->mutable_put()->set_only_if_absent(is_claim);
    };
  };
  RawPeer first(hub.port()), second(hub.port());
  first.greet();
  second.greet();
  ASSERT_EQ(ask(&first, grant("1")), message::DONE);
  ASSERT_EQ(ask(&second, grant("2")), message::DONE);
  EXPECT_EQ(ask(&first, put("key", "1", false)), message::LEASE_UNKNOWN);
  EXPECT_EQ(ask(&first, put("other", "1", true)), message::LEASE_UNKNOWN);
  EXPECT_EQ(ask(&first, grant("1")), message::LEASE_UNKNOWN);
  EXPECT_EQ(ask(&first,
                [](Request* request) {
                  request->mutable_remove()->set_lease(5);
                  request->mutable_remove()->set_key("key");
                }),
            message::LEASE_UNKNOWN);
  EXPECT_EQ(ask(&first, [](Request* request) { request->mutable_revoke()->set_lease(5); }), message::LEASE_UNKNOWN);
  EXPECT_EQ(ask(&second, put("key", "3", false)), message::DONE);
  EXPECT_TRUE(seen.wait_for({{"key", "1"}, {"key", "2"}, {"key", "3"}})) << seen.to_string();
}

TEST(HubServer, ATakenPortIsNamedWithTheRemedy) {
  HubHost hub;
  IoThreads io(1);
  HubOptions options;
  options.port = hub.port();
  const auto second = HubServer::listen(options, &io);
  ASSERT_FALSE(second.is_ok());
  EXPECT_EQ(second.status().code(), Code::kUnavailable);
  EXPECT_THAT(second.status().text(), AllOf(HasSubstr(hub.address()), HasSubstr("choose another port")));
}

TEST(HubClient, WithoutAHubNamesTheAddressAndTheRemedy) {
  HubHost hub;
  hub.stop();
  HubClientOptions options;
  options.address = hub.address();
  const auto client = HubClient::connect(options, Clock::steady().now() + std::chrono::milliseconds(200));
  ASSERT_FALSE(client.is_ok());
  EXPECT_EQ(client.status().code(), Code::kUnavailable);
  EXPECT_THAT(client.status().text(), AllOf(HasSubstr(hub.address()), HasSubstr("--hub"), HasSubstr("refused")));
}

TEST(HubClient, RefusesWhatIsNoAddress) {
  for (const char* text : {"", "host", ":1", "host:", "host:x", "host:65536", "::1:5"}) {
    HubClientOptions options;
    options.address = text;
    const auto client = HubClient::connect(options, soon());
    ASSERT_FALSE(client.is_ok()) << text;
    EXPECT_EQ(client.status().code(), Code::kInvalid);
  }
}

}  // namespace
}  // namespace dynamo::hub
