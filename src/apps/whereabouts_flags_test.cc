#include "apps/whereabouts_flags.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "apps/handoff_flags.h"
#include "apps/status_server.h"
#include "hub/hub_server.h"

namespace dynamo::apps {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;
using testing::StartsWith;

// A hub, and a process that uses it.
class WithHub : public testing::Test {
 protected:
  WithHub() { flags_.hub = "127.0.0.1:" + std::to_string(hub_->port()); }
  ~WithHub() override { hub_->stop(); }

  IoThreads io_{1};
  std::unique_ptr<hub::HubServer> hub_ = hub::HubServer::listen({}, &io_).value();
  PlaneFlags flags_;
};

TEST_F(WithHub, TheHubIsBothDiscoveryAndEvents) {
  const auto planes = open_planes(flags_);
  ASSERT_TRUE(planes.is_ok()) << planes.status().to_string();
  EXPECT_EQ(planes->own_registry, nullptr);
  ASSERT_NE(planes->registry, nullptr);
  ASSERT_EQ(planes->servers.size(), 1U);
  EXPECT_EQ(planes->servers.front().port, hub_->port());
  Metrics metrics;
  show_planes(*planes, &metrics);
  EXPECT_THAT(metrics.expose(), HasSubstr("\ndynamo_discovery_connected 1\n"));
  EXPECT_THAT(metrics.expose(), HasSubstr("\ndynamo_events_connected 1\n"));
  EXPECT_THAT(metrics.expose(), HasSubstr("\ndynamo_events_dropped_messages 0\n"));
}

TEST_F(WithHub, AWorkerBesideItListensOnLoopback) {
  const auto planes = open_planes(flags_);
  ASSERT_TRUE(planes.is_ok());
  const auto whereabouts = whereabouts_of({}, *planes);
  ASSERT_TRUE(whereabouts.is_ok()) << whereabouts.status().to_string();
  EXPECT_EQ(whereabouts->listen_host, "127.0.0.1");
  EXPECT_EQ(whereabouts->announced_host, "127.0.0.1");
  WhereaboutsFlags wrong;
  wrong.host = "no address";
  EXPECT_EQ(whereabouts_of(wrong, *planes).status().code(), Code::kInvalid);
}

TEST(OpenPlanes, AddressesThatCannotBeMeantAreRefused) {
  PlaneFlags flags;
  flags.startup_timeout = std::chrono::seconds(0);
  flags.etcd_endpoints = "ftp://here:1";
  EXPECT_EQ(open_planes(flags).status().code(), Code::kInvalid);
  flags.etcd_endpoints.clear();
  flags.nats_server = "http://here:1";
  EXPECT_EQ(open_planes(flags).status().code(), Code::kInvalid);
}

TEST(OpenPlanes, AHubThatIsNotThereIsSaid) {
  IoThreads io(1);
  const auto gone = hub::HubServer::listen({}, &io).value();
  const std::string address = "127.0.0.1:" + std::to_string(gone->port());
  gone->stop();
  PlaneFlags flags;
  flags.hub = address;
  flags.startup_timeout = std::chrono::seconds(0);
  const Status status = open_planes(flags).status();
  EXPECT_EQ(status.code(), Code::kUnavailable);
  EXPECT_THAT(status.text(), HasSubstr(address));
}

TEST(PlaneFlags, ANamespaceIsMadeOfLettersDigitsAndDashes) {
  PlaneFlags flags;
  const OptionSet options = options_of(&flags);
  const OptionValue& name_space = options.all().front().value;
  for (const char* wrong : {"", "a b", "a/b", "é"}) EXPECT_EQ(name_space.store(wrong).code(), Code::kInvalid) << wrong;
  EXPECT_TRUE(name_space.store("Some-name_1").is_ok());
  EXPECT_EQ(flags.name_space, "Some-name_1");
}

TEST(HandoffFlags, OnlyWhoSharesItsWorkTakesPartInHandOffs) {
  const worker::Whereabouts whereabouts{
      .listen_host = "0.0.0.0", .announced_host = "me", .handoff_host = "10.0.0.1", .warning = ""};
  PlaneFlags planes;
  planes.name_space = "some";
  HandoffFlags flags;
  EXPECT_FALSE(part_of(flags, planes, whereabouts).has_value());
  flags.role = discovery::Role::kDecode;
  flags.nixl_library = "/a/library.so";
  const auto part = part_of(flags, planes, whereabouts);
  ASSERT_TRUE(part.has_value());
  EXPECT_EQ(part->backend, "auto");
  EXPECT_EQ(part->host, "10.0.0.1");
  EXPECT_EQ(part->listen_host, "0.0.0.0");
  EXPECT_EQ(part->nixl.file, "/a/library.so");
  flags.backend = "tcp";
  EXPECT_EQ(part_of(flags, planes, whereabouts)->backend, "tcp");
}

TEST(HandoffFlags, NixlIsLookedForInTheActivePythonFirst) {
  ::setenv("NIXL_PREFIX", "/first", 1);
  ::setenv("VIRTUAL_ENV", "/second", 1);
  HandoffFlags flags;
  flags.role = discovery::Role::kPrefill;
  const auto part = part_of(flags, {}, {});
  ::unsetenv("NIXL_PREFIX");
  ::unsetenv("VIRTUAL_ENV");
  ASSERT_TRUE(part.has_value());
  ASSERT_GE(part->nixl.prefixes.size(), 2U);
  EXPECT_EQ(part->nixl.prefixes[0], "/first");
  EXPECT_EQ(part->nixl.prefixes[1], "/second");
}

TEST(StatusServer, IsMadeWhereAFlagSaysAndOnlyIfOneDoes) {
  IoThreads io(1);
  Metrics metrics;
  std::unique_ptr<http::Server> server;
  EXPECT_TRUE(start_status_server({}, "127.0.0.1", &metrics, &io, &server).is_ok());
  EXPECT_EQ(server, nullptr);
  WhereaboutsFlags flags;
  flags.system_port = 0;
  ASSERT_TRUE(start_status_server(flags, "127.0.0.1", &metrics, &io, &server).is_ok());
  ASSERT_NE(server, nullptr);
  EXPECT_THAT(server->routes(), testing::UnorderedElementsAre("GET /live", "GET /ready", "GET /metrics"));
  std::unique_ptr<http::Server> second;
  flags.system_port = server->port();
  const Status taken = start_status_server(flags, "127.0.0.1", &metrics, &io, &second);
  EXPECT_THAT(taken.text(), StartsWith("--system-port"));
  flags.system_host = "no address";
  const Status wrong = start_status_server(flags, "", &metrics, &io, &second);
  EXPECT_THAT(wrong.text(), StartsWith("--system-host"));
  server->stop(Clock::steady().now());
}

}  // namespace
}  // namespace dynamo::apps
