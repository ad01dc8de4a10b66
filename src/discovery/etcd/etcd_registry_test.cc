// What only the Registry in etcd does: users, several members, leases and values that etcd refuses. With real etcds.
#include "discovery/etcd/etcd_registry.h"

#include <algorithm>
#include <array>
#include <cstdio>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/check.h"
#include "discovery/testing/etcd_process.h"
#include "discovery/testing/seen_changes.h"

namespace dynamo::discovery {
namespace {

using std::chrono::seconds;
using testing::AllOf;
using testing::HasSubstr;

const std::string kEtcdctl = find_program({"/usr/bin/etcdctl", "/usr/local/bin/etcdctl"});

class EtcdRegistryTest : public testing::Test {
 protected:
  void SetUp() override {
    if (EtcdProcess::program().empty()) GTEST_SKIP() << "etcd is not installed";
    if (kEtcdctl.empty()) GTEST_SKIP() << "etcdctl is not installed";
  }

  static EtcdOptions options(const EtcdProcess& server) { return etcd_options_from(server.endpoint()).value(); }
  static EtcdOptions options(const std::vector<std::unique_ptr<EtcdProcess>>& members) {
    std::vector<std::string> endpoints;
    for (const auto& member : members) endpoints.push_back(member->endpoint());
    return etcd_options_from(fmt::format("{}", fmt::join(endpoints, ","))).value();
  }
  static std::unique_ptr<EtcdRegistry> connect(const EtcdOptions& options) {
    auto registry = EtcdRegistry::connect(options, soon());
    CHECK_OK(registry);
    return std::move(registry).value();
  }

  // What the operator's program prints. It tries again until etcd serves.
  static std::string etcdctl(const EtcdProcess& server, const std::string& arguments) {
    std::string printed;
    EXPECT_TRUE(wait_until([&] {
      printed.clear();
      FILE* program = ::popen(
          fmt::format("ETCDCTL_API=3 {} --endpoints={} {} 2>/dev/null", kEtcdctl, server.endpoint(), arguments).c_str(),
          "r");
      std::array<char, 1024> buffer;
      while (const size_t count = std::fread(buffer.data(), 1, buffer.size(), program))
        printed.append(buffer.data(), count);
      return ::pclose(program) == 0;
    })) << arguments;
    return printed;
  }

  // The one there is.
  static std::string lease_of(const EtcdProcess& server) {
    const std::string printed = etcdctl(server, "lease list");  // a headline, then one number a line
    EXPECT_EQ(std::ranges::count(printed, '\n'), 2) << printed;
    return printed.substr(printed.find('\n') + 1, 16);
  }

  // A worker and who watches it, on the members of one cluster.
  struct Pair {
    Pair(const EtcdOptions& options, seconds time_to_live)
        : time_to_live(time_to_live),
          worker(connect(options)),
          watcher(connect(options)),
          watch(watcher->watch("", seen.callback())),
          lease(worker->lease(time_to_live)) {
      lease->put("stays", "1");
      EXPECT_TRUE(lease->sync(soon()).is_ok());
      wanted = {is_now("stays", "1")};
      EXPECT_TRUE(seen.wait_for(wanted));
    }
    // Whether a change goes through, and nothing else was told.
    bool goes_on(const std::string& value) {
      lease->put("changes", value);
      wanted.push_back(is_now("changes", value));
      return lease->sync(soon()).is_ok() && seen.wait_for(wanted);
    }
    // Whether a change goes through, whatever was told besides: a member that was the leader and hung may, when it goes on, end leases as
    // it last knew them, whoever renewed them since (etcd issue 15247). Then all keys come again.
    bool comes_to(const std::string& value) {
      lease->put("changes", value);
      return lease->sync(soon()).is_ok() && seen.wait_for_view({{"stays", "1"}, {"changes", value}});
    }
    // Whether the lease lives for longer than it would without being renewed.
    bool is_renewed() {
      const Time until = Clock::steady().now() + 2 * time_to_live;
      while (Clock::steady().now() < until) {
        const auto keys = watcher->list("stays", soon());
        if (keys.is_ok() && !keys->contains("stays")) return false;
      }
      return true;
    }

    const seconds time_to_live;
    std::unique_ptr<EtcdRegistry> worker;
    std::unique_ptr<EtcdRegistry> watcher;
    SeenChanges seen;
    std::unique_ptr<Watch> watch;
    std::unique_ptr<Lease> lease;
    std::vector<KeyChange> wanted;
  };
};

class EtcdUserTest : public EtcdRegistryTest {
 protected:
  void SetUp() override {
    EtcdRegistryTest::SetUp();
    if (IsSkipped()) return;
    server_ = EtcdProcess::start();
    for (const char* command : {"user add root:secret", "user grant-role root root", "role add worker",
                                "role grant-permission worker --prefix=true readwrite /dynamo/",
                                "user add dynamo:right", "user grant-role dynamo worker", "auth enable"})
      etcdctl(*server_, command);
  }
  EtcdOptions as(const std::string& user, const std::string& password) const {
    EtcdOptions one = options(*server_);
    one.username = user;
    one.password = password;
    return one;
  }

  std::unique_ptr<EtcdProcess> server_;
};

TEST_F(EtcdUserTest, TheRightPasswordOpens) {
  const auto registry = connect(as("dynamo", "right"));
  SeenChanges seen;
  const auto watch = registry->watch("/dynamo/", seen.callback());
  auto lease = registry->lease(seconds(5));
  lease->put("/dynamo/a", "1");
  ASSERT_TRUE(lease->sync(soon()).is_ok());
  ASSERT_TRUE(*lease->claim("/dynamo/b", "1", soon()));
  ASSERT_TRUE(registry->write("/dynamo/c", "1", soon()).is_ok());
  EXPECT_TRUE(seen.wait_for_view({{"/dynamo/a", "1"}, {"/dynamo/b", "1"}, {"/dynamo/c", "1"}}));
  lease.reset();
  EXPECT_TRUE(seen.wait_for_view({{"/dynamo/c", "1"}}));
}

TEST_F(EtcdUserTest, AnyOtherIsRefusedAtOnceAndToldWhere) {
  for (const EtcdOptions& options : {as("dynamo", "wrong"), as("nobody", "right"), as("", "")}) {
    const Status status = EtcdRegistry::connect(options, soon()).status();
    EXPECT_EQ(status.code(), Code::kInvalid);
    EXPECT_THAT(status.text(), AllOf(HasSubstr(server_->endpoint()), HasSubstr("ETCD_AUTH_PASSWORD")));
  }
}

TEST_F(EtcdUserTest, WhatItsRoleForbidsHoldsUpNothingElse) {
  const auto registry = connect(as("dynamo", "right"));
  EXPECT_EQ(registry->write("/elsewhere/a", "1", soon()).code(), Code::kInvalid);
  const auto lease = registry->lease(seconds(5));
  lease->put("/dynamo/a", "1");
  lease->put("/elsewhere/a", "1");
  lease->put("/z", "1");
  const Status synced = lease->sync(Clock::steady().now() + std::chrono::milliseconds(500));
  EXPECT_EQ(synced.code(), Code::kDeadline);
  EXPECT_THAT(synced.text(), HasSubstr("permission denied"));
  lease->remove("/elsewhere/a");
  lease->remove("/z");
  EXPECT_TRUE(registry->is_connected());
  EXPECT_EQ(registry->list("/dynamo/", soon()).value().size(), 1);
}

// etcd keeps its simple tokens in memory.
TEST_F(EtcdUserTest, LogsInAgainWhenItsTokenIsNoLongerKnown) {
  const auto registry = connect(as("dynamo", "right"));
  SeenChanges seen;
  const auto watch = registry->watch("/dynamo/", seen.callback());
  const auto lease = registry->lease(seconds(5));
  lease->put("/dynamo/a", "1");
  ASSERT_TRUE(seen.wait_for({is_now("/dynamo/a", "1")}));
  server_->kill();
  ASSERT_TRUE(server_->restart().is_ok());
  lease->put("/dynamo/a", "2");
  ASSERT_TRUE(lease->sync(soon()).is_ok());
  EXPECT_TRUE(seen.wait_for({is_now("/dynamo/a", "1"), is_now("/dynamo/a", "2")}));
}

TEST_F(EtcdRegistryTest, WithoutAnEtcdNamesTheEndpointsAndTheRemedy) {
  const auto server = EtcdProcess::start();
  server->kill();
  const Status status =
      EtcdRegistry::connect(options(*server), Clock::steady().now() + std::chrono::milliseconds(500)).status();
  EXPECT_EQ(status.code(), Code::kUnavailable);
  EXPECT_THAT(status.text(), AllOf(HasSubstr(server->endpoint()), HasSubstr("refused"), HasSubstr("ETCD_ENDPOINTS")));
}

TEST_F(EtcdRegistryTest, ARevokedLeaseIsMadeAgainWithItsKeys) {
  const auto server = EtcdProcess::start();
  const auto registry = connect(options(*server));
  SeenChanges seen;
  const auto watch = registry->watch("", seen.callback());
  const auto lease = registry->lease(seconds(2));
  lease->put("a", "1");
  ASSERT_TRUE(seen.wait_for({is_now("a", "1")}));
  etcdctl(*server, "lease revoke " + lease_of(*server));
  EXPECT_TRUE(seen.wait_for({is_now("a", "1"), is_gone("a"), is_now("a", "1")}));
}

TEST_F(EtcdRegistryTest, AValueThatEtcdRefusesHoldsUpNoOther) {
  const auto server = EtcdProcess::start();
  const auto registry = connect(options(*server));
  const auto unlucky = registry->lease(seconds(5));
  const auto lucky = registry->lease(seconds(5));
  unlucky->put("a", std::string(1800U << 10, 'x'));  // etcd takes 1.5 MiB
  unlucky->put("b", "1");
  const Status refused = unlucky->sync(Clock::steady().now() + std::chrono::milliseconds(500));
  EXPECT_EQ(refused.code(), Code::kDeadline);
  EXPECT_THAT(refused.text(), AllOf(HasSubstr("writing a"), HasSubstr("too large")));
  lucky->put("c", "1");
  EXPECT_TRUE(lucky->sync(soon()).is_ok());
  EXPECT_EQ(registry->list("", soon()).value(), (std::map<std::string, std::string>{{"b", "1"}, {"c", "1"}}));
  unlucky->put("a", "1");
  EXPECT_TRUE(unlucky->sync(soon()).is_ok());
}

TEST_F(EtcdRegistryTest, ListsMoreThanOneMessageOfGrpcUsuallyHolds) {
  const auto server = EtcdProcess::start();
  const auto registry = connect(options(*server));
  for (int i = 0; i < 6; ++i)
    ASSERT_TRUE(registry->write(std::to_string(i), std::string(1U << 20, 'x'), soon()).is_ok());
  const auto keys = registry->list("", soon());
  ASSERT_TRUE(keys.is_ok()) << keys.status().to_string();
  EXPECT_EQ(keys->size(), 6);
}

TEST_F(EtcdRegistryTest, OneOfThreeMembersMayBeDeadAtTheStart) {
  const auto members = EtcdProcess::start_cluster(3);
  ASSERT_TRUE(members.is_ok()) << members.status().to_string();
  (*members)[0]->kill();
  Pair pair(options(*members), seconds(5));
  EXPECT_TRUE(pair.goes_on("2"));
}

TEST_F(EtcdRegistryTest, WatchAndLeaseGoOnWhenTheMemberInUseDies) {
  const auto members = EtcdProcess::start_cluster(3);
  ASSERT_TRUE(members.is_ok()) << members.status().to_string();
  Pair pair(options(*members), seconds(2));
  for (const size_t in_use : {0, 1}) {  // the first that answers is kept
    EtcdProcess& member = *(*members)[in_use];
    member.kill();
    EXPECT_TRUE(pair.goes_on(fmt::format("without {}", in_use)));
    EXPECT_TRUE(pair.is_renewed());
    ASSERT_TRUE(member.restart().is_ok());
    EXPECT_TRUE(pair.goes_on(fmt::format("again with {}", in_use)));
  }
}

TEST_F(EtcdRegistryTest, AMemberThatHangsIsLeft) {
  const auto members = EtcdProcess::start_cluster(3);
  ASSERT_TRUE(members.is_ok()) << members.status().to_string();
  Pair pair(options(*members), seconds(10));
  (*members)[0]->hang();
  EXPECT_TRUE(pair.goes_on("2")) << pair.seen.to_string();
  (*members)[0]->resume();
  EXPECT_TRUE(pair.comes_to("3")) << pair.seen.to_string();
}

// What was asked of a member that hangs may be carried out when it goes on, after what was written meanwhile.
TEST_F(EtcdRegistryTest, WhatAMemberThatHungWasAskedIsNotWrittenLate) {
  const auto members = EtcdProcess::start_cluster(3);
  ASSERT_TRUE(members.is_ok()) << members.status().to_string();
  Pair pair(options(*members), seconds(60));
  const std::string before = lease_of(*members->back());
  std::string after = before;
  for (size_t i = 0; i < members->size() && after == before; ++i) {  // until it is the one that the worker uses
    (*members)[i]->hang();
    EXPECT_TRUE(pair.comes_to(fmt::format("without {}", i))) << pair.seen.to_string();
    const EtcdProcess& other = *(*members)[(i + 1) % members->size()];
    after = lease_of(other);
    EXPECT_THAT(etcdctl(other, "lease timetolive --keys " + after), AllOf(HasSubstr("stays"), HasSubstr("changes")));
    (*members)[i]->resume();
  }
  EXPECT_NE(after, before);  // which has ended: nothing can be written under it
}

TEST_F(EtcdRegistryTest, AClaimAndASettingGoThroughWhileAMemberHangs) {
  const auto members = EtcdProcess::start_cluster(3);
  ASSERT_TRUE(members.is_ok()) << members.status().to_string();
  Pair pair(options(*members), seconds(10));
  (*members)[0]->hang();
  EXPECT_TRUE(*pair.lease->claim("name", "1", soon()));
  EXPECT_TRUE(pair.watcher->write("setting", "1", soon()).is_ok());
  (*members)[0]->resume();
  EXPECT_TRUE(pair.watcher->write("setting", "2", soon()).is_ok());
  EXPECT_FALSE(*pair.watcher->lease(seconds(10))->claim("name", "2", soon()));
  EXPECT_TRUE(pair.seen.wait_for_view({{"stays", "1"}, {"name", "1"}, {"setting", "2"}})) << pair.seen.to_string();
}

}  // namespace
}  // namespace dynamo::discovery
