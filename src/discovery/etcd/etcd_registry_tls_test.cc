// Whom EtcdRegistry trusts and shows itself to, with a real etcd and certificates that openssl makes for the test.
#include <optional>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/testing/certificates.h"
#include "discovery/etcd/etcd_registry.h"
#include "discovery/testing/etcd_process.h"
#include "discovery/testing/seen_changes.h"

namespace dynamo::discovery {
namespace {

using testing::AllOf;
using testing::HasSubstr;

class EtcdRegistryTlsTest : public testing::Test {
 protected:
  void SetUp() override {
    if (EtcdProcess::program().empty()) GTEST_SKIP() << "etcd is not installed";
    if (const std::string why = Certificates::why_skipped(); !why.empty()) GTEST_SKIP() << why;
    certificates_.emplace();
  }

  // An etcd that shows this certificate, and wants one of the authority's if it `asks`.
  std::unique_ptr<EtcdProcess> start(const std::string& name, bool asks) const {
    std::vector<std::string> arguments = {"--cert-file", file(name + ".pem"), "--key-file", file(name + ".key")};
    if (asks) arguments.insert(arguments.end(), {"--client-cert-auth", "--trusted-ca-file", file("ca.pem")});
    return EtcdProcess::start("https", std::move(arguments));
  }
  std::string file(const std::string& name) const { return certificates_->file(name); }
  EtcdOptions options(const EtcdProcess& server, const std::string& authority) const {
    EtcdOptions options = etcd_options_from(server.endpoint()).value();
    options.ca_file = file(authority);
    return options;
  }
  // Whether a key comes back through etcd, asked for and told.
  static bool carries(Registry& registry) {
    SeenChanges seen;
    const auto watch = registry.watch("echo", seen.callback());
    const auto lease = registry.lease(std::chrono::seconds(5));
    lease->put("echo", "x");
    return lease->sync(soon()).is_ok() && seen.wait_for({is_now("echo", "x")}) && registry.list("", soon()).is_ok();
  }

  std::optional<Certificates> certificates_;
};

TEST_F(EtcdRegistryTlsTest, TrustsTheAuthorityItIsGivenAndNoOther) {
  const auto server = start("server", /*asks=*/false);
  const auto trusting = EtcdRegistry::connect(options(*server, "ca.pem"), soon());
  ASSERT_TRUE(trusting.is_ok()) << trusting.status().to_string();
  EXPECT_TRUE(carries(**trusting));
  const Status distrusting = EtcdRegistry::connect(options(*server, "stranger_ca.pem"), soon()).status();
  EXPECT_EQ(distrusting.code(), Code::kInvalid);
  EXPECT_THAT(distrusting.text(), AllOf(HasSubstr(server->endpoint()), HasSubstr("ETCD_AUTH_CA")));
}

TEST_F(EtcdRegistryTlsTest, RefusesTheCertificateOfAnotherHost) {
  const auto server = start("other", /*asks=*/false);
  const Status misled = EtcdRegistry::connect(options(*server, "ca.pem"), soon()).status();
  EXPECT_EQ(misled.code(), Code::kInvalid);
  EXPECT_THAT(misled.text(), HasSubstr(server->endpoint()));
}

TEST_F(EtcdRegistryTlsTest, ShowsACertificateOfItsOwn) {
  const auto server = start("server", /*asks=*/true);
  EtcdOptions known = options(*server, "ca.pem");
  const Status unknown = EtcdRegistry::connect(known, Clock::steady().now() + std::chrono::seconds(1)).status();
  EXPECT_FALSE(unknown.is_ok());
  EXPECT_THAT(unknown.text(), HasSubstr(server->endpoint()));
  known.cert_file = file("client.pem");
  known.key_file = file("client.key");
  const auto registry = EtcdRegistry::connect(known, soon());
  ASSERT_TRUE(registry.is_ok()) << registry.status().to_string();
  EXPECT_TRUE(carries(**registry));
}

TEST_F(EtcdRegistryTlsTest, NamesAFileThatCannotBeRead) {
  EtcdOptions options = etcd_options_from("https://127.0.0.1:1").value();
  options.ca_file = file("nowhere.pem");
  const Status status = EtcdRegistry::connect(options, soon()).status();
  EXPECT_EQ(status.code(), Code::kInvalid);
  EXPECT_THAT(status.text(), AllOf(HasSubstr("ETCD_AUTH_CA"), HasSubstr("nowhere.pem")));
}

}  // namespace
}  // namespace dynamo::discovery
