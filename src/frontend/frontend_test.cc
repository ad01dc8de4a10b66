// What a frontend makes of a registry that says anything: keys of strangers, of broken workers, of one worker twice.
// The workers are servers in this process that give a model's description and say that they hold nothing.
#include "frontend/frontend.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>

#include <array>
#include <map>
#include <random>
#include <set>

#include "base/instance_id.h"
#include "base/testing/patience.h"
#include "discovery/keys.h"
#include "discovery/testing/fake_registry.h"
#include "events/testing/fake_bus.h"
#include "frontend/testing/test_worker.h"
#include "rpc/server.h"

namespace dynamo::frontend {
namespace {

namespace json = boost::json;
using discovery::Role;
using discovery::WorkerInstance;
using ::testing::HasSubstr;

constexpr size_t kWorkers = 3;  // instances 1 to 3

class FrontendTest : public testing::Test {
 protected:
  FrontendTest() {
    for (uint64_t instance = 1; instance <= kWorkers; ++instance) {
      rpc::ServerOptions options;
      options.host = "127.0.0.1";
      options.identity = {.name_space = "ns", .version = "1", .instance = instance};
      servers_.push_back(std::move(rpc::Server::listen(std::move(options), &server_io_)).value());
      servers_.back()->start(
          [this](std::string request, rpc::ReplyStream* reply) { return answer(&bundle_, std::move(request), reply); });
    }
    start();
  }
  ~FrontendTest() override {
    stop();
    for (const auto& server : servers_)
      if (server) server->stop(Clock::steady().now());
  }
  void start() {
    FrontendOptions options;
    options.name_space = "ns";
    options.version = "1";
    options.router.index_bytes = 1U << 20;
    options.warm_limit = warm_limit_;
    frontend_ = std::move(Frontend::start(options, &registry_, &bus_, &io_, &metrics_, soon())).value();
  }
  void stop() {
    frontend_->stop();
    frontend_.reset();
  }

  static Task<Status> answer(const std::string* bundle, std::string request, rpc::ReplyStream* reply) {
    constexpr int kModel = 2;
    constexpr int kBlocks = 3;  // kinds of requests (wire/messages.proto)
    const int kind = request.empty() ? 0 : request[0] >> 3;
    if (kind == kModel) {
      std::string bytes = *bundle;
      reply->send_last(std::move(bytes));
    } else if (kind == kBlocks) {
      std::string nothing = "\x18\x01";  // the last part, without blocks
      reply->send_last(std::move(nothing));
    }
    co_return Status();
  }

  WorkerInstance worker(uint64_t instance, Role role = Role::kAggregated) const {
    WorkerInstance one = test_worker(instance, role);
    one.address = fmt::format("127.0.0.1:{}", servers_.at(instance - 1)->port());
    return one;
  }
  static std::string key_of(const WorkerInstance& one) { return discovery::worker_key("ns", one); }
  void write(const std::string& key, std::optional<std::string> value) {
    ASSERT_TRUE(writer_.write(key, std::move(value), soon()).is_ok());
  }
  void announce(const WorkerInstance& one) { write(key_of(one), discovery::to_json(one)); }
  void say_goodbye(WorkerInstance one) {
    one.is_leaving = true;
    announce(one);
    write(key_of(one), std::nullopt);
  }
  // By key of those that are refused, else by role and instance: "decode/0000000000000001": "ready".
  std::map<std::string, std::string> states() const {
    std::map<std::string, std::string> all;
    for (const json::value& value : frontend_->instances()) {
      const json::object& one = value.as_object();
      const auto text = [&](const char* name) { return std::string(one.at(name).as_string()); };
      const bool is_refused = text("state") == "refused";
      all[is_refused ? text("key") : text("role") + "/" + text("instance")] =
          is_refused ? "refused: " + text("why") : text("state");
    }
    return all;
  }
  void expect(const std::map<std::string, std::string>& wanted) const {
    EXPECT_TRUE(wait_until([&] { return states() == wanted; })) << json::serialize(frontend_->instances());
  }

  Duration warm_limit_ = std::chrono::hours(1);
  const std::string bundle_ = test_bundle();
  IoThreads server_io_{1};
  std::vector<std::unique_ptr<rpc::Server>> servers_;
  const std::shared_ptr<discovery::FakeStore> store_ = std::make_shared<discovery::FakeStore>();
  discovery::FakeRegistry registry_{store_};
  discovery::FakeRegistry writer_{store_};
  events::FakeBroker broker_;
  events::FakeBus bus_{broker_};
  Metrics metrics_;
  IoThreads io_{2};
  std::unique_ptr<Frontend> frontend_;
};

TEST_F(FrontendTest, ASecondKeyOfAnInstanceIsRefusedAndTakenInWhenTheFirstHasLeft) {
  announce(worker(1));
  expect({{"aggregated/0000000000000001", "ready"}});
  announce(worker(1, Role::kDecode));
  const std::string second = key_of(worker(1, Role::kDecode));
  expect({{"aggregated/0000000000000001", "ready"},
          {second, "refused: instance 0000000000000001 is announced already, by " + key_of(worker(1)) +
                       ": an instance is one worker with one key; remove this key"}});
  stop();  // who starts beside both keys comes up too
  start();
  expect({{"aggregated/0000000000000001", "ready"},
          {second, "refused: instance 0000000000000001 is announced already, by " + key_of(worker(1)) +
                       ": an instance is one worker with one key; remove this key"}});
  EXPECT_NE(frontend_->find("m"), nullptr);
  say_goodbye(worker(1));
  expect({{"decode/0000000000000001", "ready"}});
  say_goodbye(worker(1, Role::kDecode));
  expect({});
}

TEST_F(FrontendTest, AnInstanceUnderTwoModelsIsOne) {
  announce(worker(1));
  WorkerInstance other = worker(1, Role::kPrefill);
  other.model = "another";
  announce(other);
  EXPECT_TRUE(wait_until([&] { return states().size() == 2; }));
  EXPECT_THAT(states()[key_of(other)], HasSubstr("announced already"));
  EXPECT_TRUE(wait_until([&] { return frontend_->is_warm(); })) << "a model without workers is none";
  say_goodbye(other);
  say_goodbye(worker(1));
  expect({});
}

// A store that tells of the new key before the old one is gone, as after an outage.
TEST_F(FrontendTest, ARoleChangeReplacesTheWorkerInEitherOrderOfKeys) {
  for (const bool is_new_first : {false, true}) {
    announce(worker(1));
    expect({{"aggregated/0000000000000001", "ready"}});
    if (is_new_first) announce(worker(1, Role::kDecode));
    write(key_of(worker(1)), std::nullopt);
    if (!is_new_first) announce(worker(1, Role::kDecode));
    expect({{"decode/0000000000000001", "ready"}});
    say_goodbye(worker(1, Role::kDecode));
    expect({});
  }
}

TEST_F(FrontendTest, AWorkerWithoutAKeyStaysUntilItsConnectionBreaks) {
  announce(worker(1));
  announce(worker(2));
  expect({{"aggregated/0000000000000001", "ready"}, {"aggregated/0000000000000002", "ready"}});
  write(key_of(worker(1)), std::nullopt);
  EXPECT_TRUE(
      wait_until([&] { return json::serialize(frontend_->instances()).find("key is gone") != std::string::npos; }));
  expect({{"aggregated/0000000000000001", "ready"}, {"aggregated/0000000000000002", "ready"}});
  for (const size_t lost : {0, 1}) {
    servers_[lost]->stop(Clock::steady().now());
    servers_[lost].reset();
  }
  expect({{"aggregated/0000000000000002", "connecting"}});
}

TEST_F(FrontendTest, ANameOrAddressThatCouldBecomeAnythingElseIsRefused) {
  WorkerInstance odd = worker(1);
  odd.name = "worker-1\r\nset-cookie: session=evil";
  announce(odd);
  expect({{key_of(odd),
           "refused: 'name' is 'worker-1??set-cookie: session=evil', not 1 to 128 letters, digits, dots, "
           "dashes and underscores"}});
  write(key_of(odd), std::nullopt);
  expect({});
}

TEST_F(FrontendTest, AWorkerThatNeverLoadsDelaysReadinessOnlyToTheLimit) {
  WorkerInstance nowhere = worker(2);
  nowhere.model = "another";
  nowhere.address = "127.0.0.1:1";
  announce(nowhere);
  EXPECT_FALSE(frontend_->is_ready()) << "nothing is served";
  announce(worker(1));
  expect({{"aggregated/0000000000000001", "ready"}, {"aggregated/0000000000000002", "loading model"}});
  EXPECT_FALSE(frontend_->is_ready()) << "another may load yet";
  stop();
  warm_limit_ = std::chrono::milliseconds(1);
  start();
  EXPECT_TRUE(wait_until([&] { return frontend_->is_ready(); }));
  EXPECT_FALSE(frontend_->is_warm());
  say_goodbye(worker(1));
  expect({{"aggregated/0000000000000002", "loading model"}});
  EXPECT_FALSE(frontend_->is_ready());
}

// Keys and values of every kind in any order: the frontend stays, never takes an instance for two workers, and serves
// those who are right when they are alone again.
TEST_F(FrontendTest, AnyRegistryLeavesItServingWhoIsRight) {
  const std::array roles = {Role::kAggregated, Role::kPrefill, Role::kDecode};
  const std::string bad_key = discovery::workers_prefix("ns") + "decode/\xFF\n";
  for (uint64_t seed = 1; seed <= 60 && !HasFailure(); ++seed) {
    SCOPED_TRACE(fmt::format("seed {}", seed));
    std::mt19937_64 random(seed);
    const auto chance = [&](uint64_t in) { return random() % in == 0; };
    announce(worker(1));
    expect({{"aggregated/0000000000000001", "ready"}});
    std::set<std::string> keys = {key_of(worker(1))};
    for (int step = 0; step < 50; ++step) {
      WorkerInstance one = worker(1 + random() % kWorkers, roles[random() % roles.size()]);
      std::string key = key_of(one);
      if (chance(5)) one.model = "another";
      if (chance(5)) one.block_tokens = 32;
      if (chance(8)) one.model_digest = "00ff";
      if (chance(8)) one.name += "\n";
      if (chance(8)) one.address = "127.0.0.1:1";
      if (chance(8)) one.is_leaving = true;
      if (chance(8)) one.instance = 1 + random() % kWorkers;
      std::string value = discovery::to_json(one);
      if (chance(10)) value.resize(random() % value.size());
      if (chance(20)) key = bad_key;
      keys.insert(key);
      write(key, chance(3) ? std::nullopt : std::optional(std::move(value)));
      if (chance(8)) std::this_thread::sleep_for(std::chrono::milliseconds(random() % 3));
      if (chance(4)) {
        const std::string shown = json::serialize(frontend_->instances());
        boost::system::error_code error;
        json::parse(shown, error);
        ASSERT_FALSE(error) << shown;
        std::set<std::string> seen;
        for (const json::value& each : frontend_->instances()) {
          const json::object& member = each.as_object();
          if (member.at("state").as_string() == "refused") continue;
          ASSERT_TRUE(seen.insert(std::string(member.at("instance").as_string())).second) << shown;
        }
      }
      if (chance(30)) {
        stop();
        start();
      }
    }
    for (const std::string& key : keys) {
      if (key != bad_key) {
        auto leaving = worker(*parse_instance(key.substr(key.rfind('/') + 1)));
        for (const Role role : roles)
          if (key.find(discovery::role_name(role)) != std::string::npos) leaving.role = role;
        say_goodbye(leaving);
      }
      write(key, std::nullopt);
    }
    expect({});
    EXPECT_TRUE(frontend_->list().empty());
  }
  announce(worker(2));
  expect({{"aggregated/0000000000000002", "ready"}});
  EXPECT_TRUE(wait_until([&] { return frontend_->find("m") != nullptr && frontend_->is_warm(); }));
  say_goodbye(worker(2));
  expect({});
}

}  // namespace
}  // namespace dynamo::frontend
