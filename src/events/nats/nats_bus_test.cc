// What NatsBus does beside the contract of every bus: addresses, credentials, several servers. With real servers.
#include "events/nats/nats_bus.h"

#include <unistd.h>

#include <filesystem>
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "events/testing/collector.h"
#include "events/testing/nats_process.h"

namespace dynamo::events {
namespace {

using std::chrono::milliseconds;
using testing::HasSubstr;
using testing::Not;

Time in(milliseconds time) {
  return std::chrono::steady_clock::now() + time;
}

Result<std::unique_ptr<NatsBus>> connect(const std::string& servers, Time until = soon()) {
  TRY(NatsOptions options, nats_options_from(servers));
  return NatsBus::connect(std::move(options), until);
}

std::string with_credentials(const NatsProcess& server, const std::string& credentials) {
  return "nats://" + credentials + "@127.0.0.1:" + std::to_string(server.port());
}

class NatsBusTest : public testing::Test {
 protected:
  void SetUp() override {
    if (NatsProcess::program().empty()) GTEST_SKIP() << "nats-server is not installed";
  }
  static std::unique_ptr<NatsProcess> start(std::vector<std::string> arguments = {}) {
    auto server = NatsProcess::start(std::move(arguments));
    CHECK_OK(server);
    return std::move(server).value();
  }
};

TEST(NatsBusWithoutServer, IsUnavailableInTimeAndSaysWhereItLooked) {
  const std::string address = "127.0.0.1:" + std::to_string(free_port());
  const Time start = std::chrono::steady_clock::now();
  const auto bus = connect("nats://me:s3cret@" + address, in(milliseconds(300)));
  ASSERT_FALSE(bus.is_ok());
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(2));
  EXPECT_EQ(bus.status().code(), Code::kUnavailable);
  EXPECT_THAT(bus.status().text(), HasSubstr("nats://" + address));
  EXPECT_THAT(bus.status().text(), HasSubstr("NATS_SERVER"));
  EXPECT_THAT(bus.status().text(), Not(HasSubstr("s3cret")));
}

TEST(NatsBusWithoutServer, RefusesOptionsThatCannotWork) {
  NatsOptions options;
  const auto code = [&] { return NatsBus::connect(options, in(std::chrono::seconds(5))).status().code(); };
  options.servers = {"http://127.0.0.1"};
  EXPECT_EQ(code(), Code::kInvalid);
  options.servers = {};
  EXPECT_EQ(code(), Code::kInvalid);
  options.servers = {"tls://127.0.0.1:" + std::to_string(free_port())};
  options.ca_file = "/nonexistent/ca.pem";
  EXPECT_EQ(code(), Code::kInvalid);
  options.ca_file.clear();
  options.cert_file = "/dev/null";
  EXPECT_EQ(code(), Code::kInvalid);
}

TEST_F(NatsBusTest, WaitsForAServerThatStartsLater) {
  const auto server = start();
  server->kill();
  std::thread starter;
  const auto bus = connect(server->address(), in(milliseconds(100)));
  EXPECT_EQ(bus.status().code(), Code::kUnavailable);
  ASSERT_TRUE(server->restart().is_ok());
  server->hang();  // it accepts, and says nothing until it goes on
  starter = std::thread([&] { server->resume(); });
  const auto late = connect(server->address());
  starter.join();
  ASSERT_TRUE(late.is_ok()) << late.status().to_string();
}

TEST_F(NatsBusTest, ShowsUserAndPassword) {
  const auto server = start({"--user", "me", "--pass", "p@ss"});
  auto bus = connect(with_credentials(*server, "me:p%40ss"));
  ASSERT_TRUE(bus.is_ok()) << bus.status().to_string();
  EXPECT_TRUE(carries(**bus));

  NatsOptions options;
  options.servers = {server->address()};
  options.user = "me";
  options.password = "p@ss";
  EXPECT_TRUE(NatsBus::connect(options, soon()).is_ok());

  for (const char* wrong : {"me:s3cret", "you:p%40ss", "s3cret"}) {
    const auto refused = connect(with_credentials(*server, wrong), in(std::chrono::minutes(5)));
    EXPECT_EQ(refused.status().code(), Code::kInvalid) << refused.status().text();
    EXPECT_THAT(refused.status().text(), HasSubstr(server->address()));
    EXPECT_THAT(refused.status().text(), Not(HasSubstr("s3cret")));
  }
  EXPECT_EQ(connect(server->address()).status().code(), Code::kInvalid) << "no credentials at all";
}

TEST_F(NatsBusTest, ShowsAToken) {
  const auto server = start({"--auth", "t0ken"});
  auto bus = connect(with_credentials(*server, "t0ken"));
  ASSERT_TRUE(bus.is_ok()) << bus.status().to_string();
  EXPECT_TRUE(carries(**bus));
  EXPECT_EQ(connect(with_credentials(*server, "other")).status().code(), Code::kInvalid);
}

TEST_F(NatsBusTest, PassesOverAServerThatIsDead) {
  const auto server = start();
  auto bus = connect("127.0.0.1:" + std::to_string(free_port()) + "," + server->address());
  ASSERT_TRUE(bus.is_ok()) << bus.status().to_string();
  EXPECT_TRUE(carries(**bus));
}

TEST_F(NatsBusTest, GoesToTheNextServerWhenItsOwnDiesAndBack) {
  const auto first = start();
  const auto second = start();
  auto bus = connect(first->address() + "," + second->address());
  ASSERT_TRUE(bus.is_ok()) << bus.status().to_string();
  Collector collector;
  const auto subscription = (*bus)->subscribe("s", collector.callback());
  size_t arrived = 0;
  for (NatsProcess* dying : {first.get(), second.get(), first.get()}) {
    dying->kill();
    ASSERT_TRUE(wait_until([&] { return (*bus)->flush(soon()).is_ok(); }));
    (*bus)->publish("s", "still here");
    ASSERT_TRUE(collector.wait_for(++arrived));
    ASSERT_TRUE(dying->restart().is_ok());
  }
}

// With and without so much to send that the connection blocks.
class SilentNatsTest : public NatsBusTest, public testing::WithParamInterface<bool> {};
INSTANTIATE_TEST_SUITE_P(, SilentNatsTest, testing::Bool());

TEST_P(SilentNatsTest, IsNoticed) {
  const auto silent = start();
  const auto other = start();
  auto bus = connect(silent->address() + "," + other->address());
  ASSERT_TRUE(bus.is_ok()) << bus.status().to_string();
  silent->hang();
  const Time start = std::chrono::steady_clock::now();
  const bool fills_sockets = GetParam();
  for (int i = 0; fills_sockets && i < 16; ++i) (*bus)->publish("s", std::string(kMaxMessageBytes, 'x'));
  ASSERT_TRUE(wait_until([&] { return !(*bus)->is_connected(); }));
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(8));  // 4 s by design
  ASSERT_TRUE(wait_until([&] { return (*bus)->is_connected(); }));
  EXPECT_TRUE(carries(**bus));
}

TEST_F(NatsBusTest, AFlushEndsWhenTheConnectionBreaks) {
  const auto server = start();
  auto bus = connect(server->address());
  ASSERT_TRUE(bus.is_ok()) << bus.status().to_string();
  server->hang();
  std::thread killer;
  (*bus)->publish("s", "x");
  killer = std::thread([&] { server->kill(); });
  EXPECT_EQ((*bus)->flush(in(std::chrono::seconds(3))).code(), Code::kUnavailable);
  killer.join();
}

TEST_F(NatsBusTest, CountsWhatTheServerFindsTooLargeAndGoesOn) {
  const std::string config = testing::TempDir() + "nats_small_" + std::to_string(::getpid()) + ".conf";
  std::ofstream(config) << "max_payload: 1000\n";
  const auto server = start({"-c", config});
  std::filesystem::remove(config);
  auto bus = connect(server->address());
  ASSERT_TRUE(bus.is_ok()) << bus.status().to_string();
  (*bus)->publish("s", std::string(1001, 'x'));
  EXPECT_TRUE(carries(**bus));
  EXPECT_EQ((*bus)->dropped(), 1);
}

}  // namespace
}  // namespace dynamo::events
