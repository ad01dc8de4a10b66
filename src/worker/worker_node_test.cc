#include "worker/worker_node.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_future.hpp>

#include <array>
#include <future>
#include <set>

#include "base/testing/patience.h"
#include "discovery/keys.h"
#include "discovery/testing/fake_registry.h"
#include "discovery/testing/seen_changes.h"
#include "events/testing/fake_bus.h"
#include "rpc/worker_client.h"
#include "wire/status.h"
#include "worker/testing/fake_host.h"

namespace dynamo::worker {
namespace {

using discovery::Role;

// Nodes around no engine, of which one can be told to change its role as over the network.
class RolesTest : public testing::Test {
 protected:
  struct Worker {
    std::unique_ptr<FakeHost> host;
    std::unique_ptr<WorkerNode> node;
    std::shared_ptr<rpc::WorkerClient> client;
  };

  ~RolesTest() override {
    for (Worker& one : workers_) {
      one.client->stop();
      one.node->stop(Clock::steady().now());
    }
  }
  // Returns: its number. Names are "decode-worker-1" and so on.
  size_t start(discovery::Registry* registry, Role role, const std::string& bundle = "bundle",
               const std::string& model = "m") {
    NodeOptions options;
    options.name_space = "ns";
    options.version = "1";
    options.role = role;
    options.listen_host = options.announced_host = "127.0.0.1";
    EngineSpec spec;
    spec.transfer = "tcp";
    spec.roles = {Role::kAggregated, Role::kPrefill, Role::kDecode};
    spec.model = model;
    spec.model_bundle = bundle;
    spec.block_tokens = 16;
    spec.max_batch_tokens = spec.context_length = 100;
    auto host = std::make_unique<FakeHost>(std::move(spec));
    auto node = WorkerNode::listen(std::move(options), &io_);
    CHECK_OK(node);
    CHECK((*node)->start(registry, &bus_, host.get(), [](double) {}, soon()).is_ok());
    rpc::ChannelOptions to;
    to.address = (*node)->instance().address;
    to.expected_instance = (*node)->instance().instance;
    to.identity = {"ns", "1", 0};
    auto client = rpc::WorkerClient::create(std::move(to), {asking_io_.at(0).get_executor()});
    client->start();
    workers_.push_back({std::move(host), std::move(node).value(), std::move(client)});
    return workers_.size() - 1;
  }
  // Asks at once; get() gives the worker's new name, or why not.
  std::future<Result<std::string>> set_role(size_t worker, const std::string& role, uint32_t drain_seconds = 10) {
    wire::SetRole request{role, std::chrono::seconds(drain_seconds)};
    return boost::asio::co_spawn(asking_io_.at(0), workers_.at(worker).client->set_role(std::move(request), soon()),
                                 boost::asio::use_future);
  }
  // "decode": 2, of those that do not say that they leave.
  std::map<std::string, int> roles() {
    std::map<std::string, int> counts;
    const auto keys = registry_.list(discovery::workers_prefix("ns"), soon());
    for (const auto& [key, value] : *keys) {
      const auto worker = discovery::worker_from_json(value);
      if (worker.is_ok() && !worker->is_leaving) ++counts[std::string(discovery::role_name(worker->role))];
    }
    return counts;
  }

  const std::shared_ptr<discovery::FakeStore> store_ = std::make_shared<discovery::FakeStore>();
  discovery::FakeRegistry registry_{store_};
  events::FakeBroker broker_;
  events::FakeBus bus_{broker_};
  IoThreads io_{1};
  IoThreads asking_io_{1};
  std::vector<Worker> workers_;
};

TEST_F(RolesTest, TheLastThatAnswersStaysAndSaysWhoElseThereIs) {
  const size_t last = start(&registry_, Role::kDecode);
  start(&registry_, Role::kPrefill);
  start(&registry_, Role::kDecode, "another model");
  start(&registry_, Role::kAggregated, "bundle", "another name");
  discovery::WorkerInstance leaving = workers_[last].node->instance();
  leaving.instance = 7;
  leaving.name = "decode-worker-7";
  leaving.is_leaving = true;
  ASSERT_TRUE(registry_.write(discovery::worker_key("ns", leaving), discovery::to_json(leaving), soon()).is_ok());
  ASSERT_TRUE(registry_.write(discovery::workers_prefix("ns") + "decode/1", "no worker", soon()).is_ok());
  discovery::SeenChanges seen;
  const auto watch = registry_.watch(discovery::worker_key("ns", workers_[last].node->instance()), seen.callback());
  const auto refused = set_role(last, "prefill").get();
  EXPECT_EQ(refused.status().code(), Code::kInvalid);
  const std::string& why = refused.status().text();
  EXPECT_THAT(why, testing::StartsWith("this worker is the last that answers for 'm'; others: "));
  EXPECT_THAT(why, testing::HasSubstr("prefill-worker-1 (prefill)"));
  EXPECT_THAT(why, testing::HasSubstr("decode-worker-2 (decode, of another model or block size)"));
  EXPECT_THAT(why, testing::HasSubstr("decode-worker-7 (decode, leaving)"));
  EXPECT_THAT(why, testing::HasSubstr("dynamo ctl role WORKER decode"));
  EXPECT_TRUE(seen.wait_for_first());
  EXPECT_EQ(seen.all().size(), 1U) << "it never said that it leaves: " << seen.to_string();
  start(&registry_, Role::kAggregated);
  EXPECT_EQ(set_role(last, "prefill").get().value(), "prefill-worker-2");
}

// Each list of the workers waits for one of the other node, so that both look before either has said anything; in vain
// if they do not look at the same time.
class MeetingRegistry final : public discovery::Registry {
 public:
  struct Place {
    Mutex mutex;
    std::condition_variable_any arrived;
    int lists GUARDED_BY(mutex) = 0;
  };
  MeetingRegistry(std::shared_ptr<discovery::FakeStore> store, Place* place)
      : inner_(std::move(store)), place_(place) {}
  std::unique_ptr<discovery::Lease> lease(std::chrono::seconds time_to_live) override {
    return inner_.lease(time_to_live);
  }
  std::unique_ptr<discovery::Watch> watch(std::string prefix, discovery::OnChanges on_changes) override {
    return inner_.watch(std::move(prefix), std::move(on_changes));
  }
  Result<std::map<std::string, std::string>> list(std::string prefix, Time until) override {
    auto keys = inner_.list(prefix, until);
    if (!prefix.starts_with("/dynamo/workers/")) return keys;
    MutexLock lock(place_->mutex);
    const int both = (place_->lists++ / 2 + 1) * 2;
    place_->arrived.notify_all();
    place_->arrived.wait_for(place_->mutex, std::chrono::seconds(1),
                             [&]() REQUIRES(place_->mutex) { return place_->lists >= both; });
    return keys;
  }
  Status write(std::string key, std::optional<std::string> value, Time until) override {
    return inner_.write(std::move(key), std::move(value), until);
  }
  bool is_connected() const override { return inner_.is_connected(); }

 private:
  discovery::FakeRegistry inner_;
  Place* place_;
};

TEST_F(RolesTest, OfTwoThatAreToldAtOnceOneStays) {
  MeetingRegistry::Place place;
  MeetingRegistry one(store_, &place);
  MeetingRegistry other(store_, &place);
  start(&one, Role::kDecode);
  start(&other, Role::kDecode);
  auto first = set_role(0, "prefill");
  auto second = set_role(1, "prefill");
  const std::array results = {first.get(), second.get()};
  EXPECT_EQ(std::ranges::count_if(results, [](const auto& result) { return result.is_ok(); }), 1);
  for (const auto& result : results) {
    if (!result.is_ok()) {
      EXPECT_THAT(result.status().text(), testing::HasSubstr("the last that answers for 'm'"));
    }
  }
  EXPECT_EQ(roles(), (std::map<std::string, int>{{"decode", 1}, {"prefill", 1}}));
  EXPECT_TRUE(registry_.list("/dynamo/roles/", soon())->empty()) << "the next may take its turn";
  for (Worker& worker : std::exchange(workers_, {})) {  // before the registries that they use
    worker.client->stop();
    worker.node->stop(Clock::steady().now());
  }
}

TEST_F(RolesTest, AnIdleWorkerChangesItsRoleThoughNoRequestWouldBeWaitedFor) {
  start(&registry_, Role::kPrefill);
  EXPECT_EQ(set_role(0, "decode", /*drain_seconds=*/0).get().value(), "decode-worker-1");
}

TEST_F(RolesTest, WhileAnotherHasItsTurnItWaits) {
  start(&registry_, Role::kDecode);
  start(&registry_, Role::kDecode);
  auto turn = registry_.lease(std::chrono::seconds(10));
  ASSERT_TRUE(*turn->claim("/dynamo/roles/ns/m", "7", soon()));
  auto change = set_role(0, "prefill");
  EXPECT_EQ(change.wait_for(std::chrono::milliseconds(200)), std::future_status::timeout);
  EXPECT_EQ(roles(), (std::map<std::string, int>{{"decode", 2}}));
  turn.reset();
  EXPECT_EQ(change.get().value(), "prefill-worker-1");
}

// More blocks than a piece of a snapshot has, in two tiers.
TEST_F(RolesTest, ASnapshotHasTheBlocksOfEachTier) {
  const size_t worker = start(&registry_, Role::kDecode);
  kv::PerTier<std::set<kv::BlockHash>> held;
  for (const kv::Tier tier : {kv::Tier::kDevice, kv::Tier::kHost}) {
    kv::KvEvent event{kv::KvEvent::What::kStored, {}, tier};
    for (uint64_t i = 0; i < 20'000; ++i) event.blocks.push_back({i + 7 * static_cast<uint64_t>(tier)});
    held[tier].insert(event.blocks.begin(), event.blocks.end());
    workers_[worker].host->events->on_kv_event(event);
  }
  const auto snapshot =
      boost::asio::co_spawn(asking_io_.at(0), workers_[worker].client->fetch_blocks(soon()), boost::asio::use_future)
          .get();
  ASSERT_TRUE(snapshot.is_ok()) << snapshot.status().to_string();
  EXPECT_EQ(snapshot->last_event, 2U);
  for (size_t tier = 0; tier < kv::kTiers; ++tier) {
    const auto& blocks = snapshot->held.all[tier];
    EXPECT_EQ(std::set<kv::BlockHash>(blocks.begin(), blocks.end()), held.all[tier]);
    EXPECT_EQ(blocks.size(), held.all[tier].size());
  }
}

TEST_F(RolesTest, AWorkerWhoseModelHasNoFitNameIsNotAnnounced) {
  NodeOptions options;
  options.name_space = "ns";
  options.listen_host = options.announced_host = "127.0.0.1";
  EngineSpec spec;
  spec.model = "m\r\n";
  spec.block_tokens = 16;
  FakeHost host(std::move(spec));
  const auto node = WorkerNode::listen(options, &io_);
  CHECK_OK(node);
  const Status status = (*node)->start(&registry_, &bus_, &host, [](double) {}, soon());
  EXPECT_EQ(status.code(), Code::kInvalid);
  EXPECT_THAT(status.text(), testing::HasSubstr("'model' is 'm?"));
  (*node)->stop(Clock::steady().now());
  EXPECT_TRUE(host.is_stopped);
  EXPECT_TRUE(roles().empty());
}

TEST_F(RolesTest, AnEngineIsNotAnnouncedInARoleThatItCannotTake) {
  NodeOptions options;
  options.name_space = "ns";
  options.role = Role::kPrefill;
  EngineSpec spec;
  spec.model = "m";
  spec.model_bundle = "bundle";
  spec.block_tokens = 16;
  FakeHost host(std::move(spec));
  const auto node = WorkerNode::listen(options, &io_);
  CHECK_OK(node);
  const Status status = (*node)->start(&registry_, &bus_, &host, [](double) {}, soon());
  EXPECT_EQ(status.code(), Code::kUnsupported);
  EXPECT_EQ(status.text(), "this engine cannot serve as prefill");
  (*node)->stop(Clock::steady().now());
  EXPECT_TRUE(roles().empty());
}

TEST_F(RolesTest, APortThatIsTakenIsSaidBeforeAnythingIsStarted) {
  start(&registry_, Role::kDecode);
  const std::string address = workers_[0].node->instance().address;
  NodeOptions options;
  options.port = static_cast<uint16_t>(std::stoi(address.substr(address.rfind(':') + 1)));
  const auto node = WorkerNode::listen(options, &io_);
  EXPECT_EQ(node.status().code(), Code::kUnavailable);
  EXPECT_THAT(node.status().text(), testing::HasSubstr(address));
}

}  // namespace
}  // namespace dynamo::worker
