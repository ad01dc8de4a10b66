// Who NatsBus trusts and shows itself to, with real servers and certificates that openssl makes for the test.
#include <cstdlib>
#include <optional>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/testing/certificates.h"
#include "events/nats/nats_bus.h"
#include "events/testing/collector.h"
#include "events/testing/nats_process.h"

// libnats 3.4 reads and writes one TLS connection from two threads, which OpenSSL forbids, and its threads outlive main().
extern "C" const char* __tsan_default_suppressions();
extern "C" const char* __tsan_default_suppressions() {
  return "race:libssl.so\nrace:libcrypto.so\n";
}

namespace dynamo::events {
namespace {

using testing::HasSubstr;

class NatsBusTlsTest : public testing::Test {
 protected:
  void SetUp() override {
    if (NatsProcess::program().empty()) GTEST_SKIP() << "nats-server is not installed";
    if (const std::string why = Certificates::why_skipped(); !why.empty()) GTEST_SKIP() << why;
    certificates_.emplace();
  }

  static std::unique_ptr<NatsProcess> start(std::vector<std::string> arguments = {}) {
    auto server = NatsProcess::start(std::move(arguments));
    CHECK_OK(server);
    return std::move(server).value();
  }
  std::string file(const std::string& name) const { return certificates_->file(name); }
  std::vector<std::string> tls_arguments(const std::string& name = "server") const {
    return {"--tls", "--tlscert", file(name + ".pem"), "--tlskey", file(name + ".key")};
  }
  NatsOptions options(const NatsProcess& server, const std::string& scheme, const std::string& host) const {
    NatsOptions options;
    options.servers = {scheme + "://" + host + ":" + std::to_string(server.port())};
    return options;
  }

  std::optional<Certificates> certificates_;
};

TEST_F(NatsBusTlsTest, TrustsTheAuthorityItIsGivenAndNoOther) {
  const auto server = start(tls_arguments());
  for (const char* host : {"127.0.0.1", "localhost"}) {
    NatsOptions trusting = options(*server, "tls", host);
    EXPECT_EQ(NatsBus::connect(trusting, soon()).status().code(), Code::kInvalid) << "an authority nobody named";
    trusting.ca_file = file("ca.pem");
    auto bus = NatsBus::connect(trusting, soon());
    ASSERT_TRUE(bus.is_ok()) << bus.status().to_string();
    EXPECT_TRUE(carries(**bus));
  }
}

TEST_F(NatsBusTlsTest, RefusesTheCertificateOfAnotherHost) {
  const auto server = start(tls_arguments("other"));
  for (const char* host : {"127.0.0.1", "localhost"}) {
    NatsOptions misled = options(*server, "tls", host);
    misled.ca_file = file("ca.pem");
    const auto bus = NatsBus::connect(misled, soon());
    EXPECT_EQ(bus.status().code(), Code::kInvalid) << bus.status().text();
  }
}

TEST_F(NatsBusTlsTest, FollowsAServerThatAsksForTlsButNeverGoesWithoutIt) {
  const auto secure = start(tls_arguments());
  const auto distrusted = NatsBus::connect(options(*secure, "nats", "127.0.0.1"), soon());
  EXPECT_EQ(distrusted.status().code(), Code::kInvalid) << distrusted.status().text();
  ::setenv("SSL_CERT_FILE", file("ca.pem").c_str(), 1);  // now the machine trusts it
  const auto trusted = NatsBus::connect(options(*secure, "nats", "127.0.0.1"), soon());
  ::unsetenv("SSL_CERT_FILE");
  EXPECT_TRUE(trusted.is_ok()) << trusted.status().text();
  const auto plain = start();
  const auto asking = NatsBus::connect(options(*plain, "tls", "127.0.0.1"), soon());
  EXPECT_EQ(asking.status().code(), Code::kInvalid);
  EXPECT_THAT(asking.status().text(), HasSubstr("nats://"));
}

TEST_F(NatsBusTlsTest, NoticesAServerThatTakesNothingMore) {
  const auto server = start(tls_arguments());
  NatsOptions trusting = options(*server, "tls", "127.0.0.1");
  trusting.ca_file = file("ca.pem");
  auto bus = NatsBus::connect(trusting, soon());
  ASSERT_TRUE(bus.is_ok()) << bus.status().to_string();
  server->hang();
  for (int i = 0; i < 16; ++i) (*bus)->publish("s", std::string(kMaxMessageBytes, 'x'));
  EXPECT_TRUE(wait_until([&] { return !(*bus)->is_connected(); }));
  server->resume();
  EXPECT_TRUE(wait_until([&] { return (*bus)->flush(soon()).is_ok(); }));
}

TEST_F(NatsBusTlsTest, ShowsACertificateOfItsOwn) {
  std::vector<std::string> arguments = tls_arguments();
  arguments.insert(arguments.end(), {"--tlsverify", "--tlscacert", file("ca.pem")});
  const auto server = start(std::move(arguments));
  NatsOptions unknown = options(*server, "tls", "127.0.0.1");
  unknown.ca_file = file("ca.pem");
  EXPECT_FALSE(NatsBus::connect(unknown, std::chrono::steady_clock::now() + std::chrono::milliseconds(300)).is_ok());
  NatsOptions known = unknown;
  known.cert_file = file("client.pem");
  known.key_file = file("client.key");
  auto bus = NatsBus::connect(known, soon());
  ASSERT_TRUE(bus.is_ok()) << bus.status().to_string();
  EXPECT_TRUE(carries(**bus));
  known.key_file = file("server.key");
  EXPECT_EQ(NatsBus::connect(known, soon()).status().code(), Code::kInvalid) << "a key of another certificate";
}

}  // namespace
}  // namespace dynamo::events
