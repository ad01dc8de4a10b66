#include "base/host_port.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace dynamo {
namespace {

using testing::HasSubstr;

TEST(HostPort, ReadsWhatItWrites) {
  for (const char* text : {"127.0.0.1:4730", "node-1.rack_2.example:1", "[::1]:65535", "[2001:db8::10]:80",
                           "[fe80::1%eth0]:4711", "[::ffff:10.0.0.1]:7", "[::]:8000"}) {
    const auto parsed = HostPort::parse(text);
    ASSERT_TRUE(parsed.is_ok()) << parsed.status().text();
    EXPECT_EQ(parsed->to_string(), text);
    EXPECT_EQ(HostPort::parse(parsed->to_string()).value(), *parsed);
    EXPECT_EQ(parsed->host.find_first_of("[]"), std::string::npos) << parsed->host;
  }
  EXPECT_EQ(HostPort::parse("[fe80::1%eth0]:4711").value(), (HostPort{"fe80::1%eth0", 4711}));
  EXPECT_EQ(HostPort::parse("node:04711").value(), (HostPort{"node", 4711}));
}

TEST(HostPort, SaysHowAnIpv6AddressIsWrittenBeforeAPort) {
  for (const auto& [text, remedy] :
       std::vector<std::pair<std::string, std::string>>{{"::1:4799", "write [::1]:4799"},
                                                        {"2001:db8::1:4799", "write [2001:db8::1]:4799"},
                                                        {"fe80::1%eth0:4799", "write [fe80::1%eth0]:4799"},
                                                        {"1:2:3:4:5:6:7:8:4799", "write [1:2:3:4:5:6:7:8]:4799"},
                                                        {"fe80::abcd", "write [fe80::abcd]:PORT"},
                                                        {"::", "write [::]:PORT"},
                                                        {"[::1]", "write [::1]:PORT"},
                                                        {"node", "write node:PORT"},
                                                        {"a:b:c", "write name:PORT"},
                                                        {":4799", "write name:PORT"},
                                                        {"", "write name:PORT"}}) {
    const auto parsed = HostPort::parse(text);
    ASSERT_FALSE(parsed.is_ok()) << text;
    EXPECT_EQ(parsed.status().code(), Code::kInvalid);
    EXPECT_THAT(parsed.status().text(), HasSubstr(fmt::format("'{}'", text)));
    EXPECT_THAT(parsed.status().text(), HasSubstr(remedy));
  }
}

TEST(HostPort, RefusesWhatIsNoPort) {
  for (const char* text : {"h:", "h:0", "h:65536", "h:99999999999999999999", "h:-1", "h:+1", "h:4x", "h: 1", "h:1 ",
                           "[::1]:", "[::1]:0", "[::1]4799", "[::1]x:1", "[::1]:65536"}) {
    const auto parsed = HostPort::parse(text);
    ASSERT_FALSE(parsed.is_ok()) << text;
    EXPECT_THAT(parsed.status().text(), HasSubstr(text));
    EXPECT_THAT(parsed.status().text(), HasSubstr("from 1 to 65535"));
    EXPECT_FALSE(HostPort::parse(text, 80).is_ok()) << text;
  }
}

TEST(HostPort, RefusesWhatIsNoHost) {
  for (const std::string& text :
       {std::string("a b:1"), std::string("a/b:1"), std::string("http://a:1"), std::string("me@a:1"),
        std::string("[]:1"), std::string("[::1:1"), std::string("[node]:1"), std::string("[127.0.0.1]:1"),
        std::string("[[::1]]:1"), std::string("[::1%]:1"), std::string("[::1%a b]:1"), std::string("[::g]:1"),
        std::string("a%eth0:1"), std::string("a\n:1"), std::string("a\0b:1", 5), std::string("[::1\0]:1", 8),
        std::string(300, 'a') + ":1"}) {
    EXPECT_EQ(HostPort::parse(text).status().code(), Code::kInvalid) << text;
    EXPECT_EQ(HostPort::parse(text, 80).status().code(), Code::kInvalid) << text;
  }
}

TEST(HostPort, MayHaveADefaultPort) {
  EXPECT_EQ(HostPort::parse("node", 80).value(), (HostPort{"node", 80}));
  EXPECT_EQ(HostPort::parse("[::1]", 80).value(), (HostPort{"::1", 80}));
  EXPECT_EQ(HostPort::parse("[::1]:81", 80).value(), (HostPort{"::1", 81}));
  EXPECT_THAT(HostPort::parse("::1", 80).status().text(), HasSubstr("write [::1]:PORT"));
}

TEST(ParseHost, TakesIpv6WithAndWithoutBrackets) {
  for (const char* text : {"127.0.0.1", "::1", "::", "fe80::1%eth0", "node-1", "localhost"})
    EXPECT_EQ(parse_host(text).value(), text);
  EXPECT_EQ(parse_host("[::1]").value(), "::1");
  EXPECT_EQ(parse_host("[fe80::1%eth0]").value(), "fe80::1%eth0");
}

TEST(ParseHost, RefusesTheRestByName) {
  for (const char* text : {"", "[", "[]", "[::1", "::1]", "[node]", "a b", "a:b:c", "http://a", "[::1]:x", "1::2::3"}) {
    const auto host = parse_host(text);
    ASSERT_FALSE(host.is_ok()) << text;
    EXPECT_EQ(host.status().code(), Code::kInvalid);
    EXPECT_THAT(host.status().text(), HasSubstr(fmt::format("'{}'", text)));
  }
  EXPECT_THAT(parse_host("127.0.0.1:80").status().text(), HasSubstr("write the host alone, 127.0.0.1"));
  EXPECT_THAT(parse_host("[::1]:80").status().text(), HasSubstr("write the host alone, ::1"));
}

}  // namespace
}  // namespace dynamo
