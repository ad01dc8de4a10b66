#include "worker/whereabouts.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

namespace dynamo::worker {
namespace {

using boost::asio::ip::address;
using boost::asio::ip::make_address;
using testing::AllOf;
using testing::HasSubstr;

// 10.0.0.5 and fd00::5; etcd is at "infra", 10.0.0.1. Its own name, "node5", leads to loopback here, as Debian's installer writes it.
Machine node5() {
  Machine machine;
  for (const char* own : {"127.0.0.1", "10.0.0.5", "192.168.7.5", "::1", "fd00::5"})
    machine.addresses.push_back(make_address(own));
  machine.resolve = [](const std::string& host) -> std::vector<address> {
    static const std::map<std::string, std::vector<std::string>> kNames = {
        {"localhost", {"::1", "127.0.0.1"}},
        {"infra", {"10.0.0.1"}},
        {"node5", {"127.0.1.1"}},
        {"node5.lan", {"10.0.0.5"}},
        {"node5.twice", {"10.0.0.5", "10.0.0.5"}},
        {"node5.both", {"fd00::5", "10.0.0.5"}},
        {"node5.hosts", {"127.0.1.1", "10.0.0.5"}},
        {"service", {"10.96.0.1"}},
        {"service.headless", {"10.0.0.9", "10.0.0.5"}}};
    boost::system::error_code error;
    if (const address number = make_address(host, error); !error) return {number};
    std::vector<address> found;
    if (const auto named = kNames.find(host); named != kNames.end())
      for (const std::string& text : named->second) found.push_back(make_address(text));
    return found;
  };
  machine.way_to = [](const HostPort& there) -> Result<address> {
    if (there.host == "localhost" || there.host == "::1") return make_address("::1");
    if (there.host.starts_with("127.")) return make_address("127.0.0.1");
    if (there.host.starts_with("fd00")) return make_address("fd00::5");
    if (there.host == "infra" || there.host.starts_with("10.")) return make_address("10.0.0.5");
    return unavailable("no way to " + there.host);
  };
  return machine;
}

const HostPort kLocalHub{"127.0.0.1", 4730};
const HostPort kEtcd{"infra", 2379};

Whereabouts chosen(std::string host, std::string announce_host, std::vector<HostPort> planes) {
  auto out = choose_whereabouts({std::move(host), std::move(announce_host), std::move(planes)}, node5());
  CHECK_OK(out);
  return *out;
}

struct Case {
  std::string host;
  std::string announce_host;
  std::vector<HostPort> planes;
  std::string listens;
  std::string announces;
  std::string hands_off_at;
  std::string warning;  // holds this; empty: none
};

void expect(const std::vector<Case>& cases) {
  for (const Case& one : cases) {
    SCOPED_TRACE("--host '" + one.host + "' --announce-host '" + one.announce_host + "' " + one.planes[0].to_string());
    const Whereabouts out = chosen(one.host, one.announce_host, one.planes);
    EXPECT_EQ(out.listen_host, one.listens);
    EXPECT_EQ(out.announced_host, one.announces);
    EXPECT_EQ(out.handoff_host, one.hands_off_at);
    EXPECT_EQ(out.warning.empty(), one.warning.empty()) << out.warning;
    EXPECT_THAT(out.warning, HasSubstr(one.warning));
  }
}

TEST(Whereabouts, WithoutFlagsAreOnLoopbackIfAllPlanesAre) {
  expect({
      {"", "", {kLocalHub}, "127.0.0.1", "127.0.0.1", "127.0.0.1", ""},
      {"", "", {{"127.9.9.9", 1}}, "127.0.0.1", "127.0.0.1", "127.0.0.1", ""},
      {"", "", {{"::1", 4730}}, "::1", "::1", "::1", ""},
      {"", "", {{"localhost", 2379}, {"localhost", 4222}}, "::1", "::1", "::1", ""},
      {"", "", {{"127.0.0.1", 2379}, {"127.0.0.2", 2379}, {"::1", 4222}}, "127.0.0.1", "127.0.0.1", "127.0.0.1", ""},
  });
}

TEST(Whereabouts, WithoutFlagsAreTheAddressOnTheWayToAPlaneThatIsElsewhere) {
  expect({
      {"", "", {kEtcd}, "10.0.0.5", "10.0.0.5", "10.0.0.5", ""},
      {"", "", {{"10.0.0.5", 4730}}, "10.0.0.5", "10.0.0.5", "10.0.0.5", ""},  // ours, but others come there
      {"", "", {{"fd00::1", 4730}}, "fd00::5", "fd00::5", "fd00::5", ""},
      {"", "", {{"127.0.0.1", 2379}, {"10.0.0.1", 4222}}, "10.0.0.5", "10.0.0.5", "10.0.0.5", ""},
      {"", "", {{"localhost", 2379}, {"infra", 2379}, {"localhost", 4222}}, "10.0.0.5", "10.0.0.5", "10.0.0.5", ""},
  });
}

TEST(Whereabouts, AHostIsListenedOnAndAnnounced) {
  expect({
      {"192.168.7.5", "", {kEtcd}, "192.168.7.5", "192.168.7.5", "192.168.7.5", ""},
      {"10.0.0.5", "", {kLocalHub}, "10.0.0.5", "10.0.0.5", "10.0.0.5", ""},
      {"127.0.0.2", "", {kLocalHub}, "127.0.0.2", "127.0.0.2", "127.0.0.2", ""},
      {"node5.lan", "", {kEtcd}, "10.0.0.5", "node5.lan", "10.0.0.5", ""},
      {"localhost", "", {kLocalHub}, "::1", "localhost", "::1", ""},
      {"127.0.0.1", "", {kEtcd}, "127.0.0.1", "127.0.0.1", "127.0.0.1", "--host 127.0.0.1 is on loopback"},
  });
}

TEST(Whereabouts, ListeningOnEveryAddressAnnouncesTheOneOnTheRoute) {
  expect({
      {"0.0.0.0", "", {kEtcd}, "0.0.0.0", "10.0.0.5", "10.0.0.5", ""},
      {"::", "", {kEtcd}, "::", "10.0.0.5", "10.0.0.5", ""},
      {"0.0.0.0", "", {kLocalHub}, "0.0.0.0", "127.0.0.1", "127.0.0.1", ""},
  });
}

TEST(Whereabouts, AnAnnouncedAddressOfThisMachineIsListenedOn) {
  expect({
      {"", "192.168.7.5", {kEtcd}, "192.168.7.5", "192.168.7.5", "192.168.7.5", ""},
      {"", "fd00::5", {kEtcd}, "fd00::5", "fd00::5", "fd00::5", ""},
      {"", "127.0.0.1", {kEtcd}, "127.0.0.1", "127.0.0.1", "127.0.0.1", ""},
      {"", "127.0.0.2", {kLocalHub}, "127.0.0.2", "127.0.0.2", "127.0.0.2", ""},
      {"", "localhost", {kLocalHub}, "::1", "localhost", "::1", ""},
      {"", "node5", {kLocalHub}, "127.0.1.1", "node5", "127.0.1.1", ""},
      {"", "node5.lan", {kEtcd}, "10.0.0.5", "node5.lan", "10.0.0.5", ""},
      {"", "node5.twice", {kEtcd}, "10.0.0.5", "node5.twice", "10.0.0.5", ""},
      {"", "node5.hosts", {kEtcd}, "10.0.0.5", "node5.hosts", "10.0.0.5", ""},
      {"", "service.headless", {kEtcd}, "10.0.0.5", "service.headless", "10.0.0.5", ""},
  });
}

TEST(Whereabouts, AForeignAnnouncedHostMeansListeningOnEveryAddress) {
  const std::string none = "no address of this machine that others could connect to; --host says";
  expect({
      {"", "203.0.113.9", {kEtcd}, "::", "203.0.113.9", "203.0.113.9", none},
      {"", "203.0.113.9", {kLocalHub}, "::", "203.0.113.9", "203.0.113.9", none},
      {"", "service", {kEtcd}, "::", "service", "10.96.0.1", none},
      {"", "known.elsewhere", {kEtcd}, "::", "known.elsewhere", "10.0.0.5", none},
      {"", "node5", {kEtcd}, "::", "node5", "10.0.0.5", none},
      {"", "node5.both", {kEtcd}, "::", "node5.both", "fd00::5", "more than one address of this machine"},
  });
  Machine without_ipv6 = node5();
  std::erase_if(without_ipv6.addresses, [](const address& one) { return one.is_v6(); });
  EXPECT_EQ(choose_whereabouts({"", "service", {kEtcd}}, without_ipv6).value().listen_host, "0.0.0.0");
}

TEST(Whereabouts, BothFlagsAreTakenAsTheyAre) {
  expect({
      {"127.0.0.1", "203.0.113.9", {kEtcd}, "127.0.0.1", "203.0.113.9", "203.0.113.9", ""},
      {"0.0.0.0", "service", {kEtcd}, "0.0.0.0", "service", "10.96.0.1", ""},
      {"10.0.0.5", "127.0.0.1", {kLocalHub}, "10.0.0.5", "127.0.0.1", "127.0.0.1", ""},
  });
}

TEST(Whereabouts, WhatCannotBeMeantIsNamed) {
  const auto failure = [](const WhereaboutsOptions& options) { return choose_whereabouts(options, node5()).status(); };
  for (const char* host : {"", "10.0.0.5"}) {
    for (const char* any : {"0.0.0.0", "::"})
      EXPECT_THAT(failure({host, any, {kEtcd}}).text(), AllOf(HasSubstr("--announce-host"), HasSubstr(any)));
  }
  EXPECT_EQ(failure({"nowhere", "", {kEtcd}}).code(), Code::kInvalid);
  EXPECT_THAT(failure({"nowhere", "", {kEtcd}}).text(), HasSubstr("--host nowhere"));
  EXPECT_EQ(failure({"", "", {{"198.51.100.1", 2379}}}).code(), Code::kUnavailable);
}

TEST(ThisMachine, HasLoopbackAndKnowsTheWayToIt) {
  const Machine machine = this_machine();
  EXPECT_THAT(machine.addresses, testing::Contains(make_address("127.0.0.1")));
  EXPECT_EQ(machine.way_to({"127.0.0.1", 9}).value(), make_address("127.0.0.1"));
  EXPECT_THAT(machine.resolve("127.0.0.1"), testing::ElementsAre(make_address("127.0.0.1")));
  EXPECT_THAT(machine.resolve("no such host"), testing::IsEmpty());
}

}  // namespace
}  // namespace dynamo::worker
