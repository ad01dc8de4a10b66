#include "events/nats/nats_options.h"

#include <gtest/gtest.h>

namespace dynamo::events {
namespace {

TEST(NatsOptions, TakeAddressesWithAndWithoutAScheme) {
  auto options = nats_options_from("nats://a:1 ,b, tls://[::1]:7/");
  ASSERT_TRUE(options.is_ok()) << options.status().to_string();
  std::vector<std::string> addresses;
  for (const std::string& server : options->servers) addresses.push_back(parse_nats_server(server).value().address());
  EXPECT_EQ(addresses, (std::vector<std::string>{"nats://a:1", "nats://b:4222", "tls://[::1]:7"}));
}

TEST(NatsOptions, TakeCredentialsFromTheAddress) {
  const NatsServer server = parse_nats_server("nats://me:p%40ss:w@host").value();
  EXPECT_EQ(server.user, "me");
  EXPECT_EQ(server.password, "p@ss:w");
  EXPECT_EQ(server.address(), "nats://host:4222");
  EXPECT_EQ(parse_nats_server("s3cret@host").value().token, "s3cret");
}

TEST(NatsOptions, RefuseWhatIsNoAddressAndDoNotRepeatCredentials) {
  for (const char* bad : {"", "a,", ",a", "http://a", "nats://", "nats://a:", "nats://a:0", "nats://a:65536", "a:4x",
                          "nats://s3cret@", "@a", "s3cret%4@a", "s3cret%zz@a", "[::1", "s3cret@a b", "me:s3cret@a:x"}) {
    const auto options = nats_options_from(bad);
    ASSERT_FALSE(options.is_ok()) << bad;
    EXPECT_EQ(options.status().code(), Code::kInvalid) << bad;
    EXPECT_EQ(options.status().text().find("s3cret"), std::string::npos) << options.status().text();
  }
}

}  // namespace
}  // namespace dynamo::events
