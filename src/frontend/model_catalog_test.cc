#include "frontend/model_catalog.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/testing/patience.h"
#include "discovery/keys.h"
#include "frontend/bundle_loader.h"
#include "frontend/testing/test_catalog.h"
#include "frontend/testing/test_worker.h"
#include "rpc/testing/fake_worker_client.h"

namespace dynamo::frontend {
namespace {

using rpc::FakeWorkerClient;
using ::testing::ElementsAre;

class ModelCatalogTest : public testing::Test {
 protected:
  std::shared_ptr<FakeWorkerClient> add(const discovery::WorkerInstance& worker) {
    auto remote = std::make_shared<FakeWorkerClient>();
    to_load_ = catalog_.add(worker, remote);
    return remote;
  }
  static LoadedModel loaded() { return std::move(open_bundle(test_bundle(), test_worker(1).model_digest)).value(); }
  std::vector<std::string> names() const {
    std::vector<std::string> all;
    for (const auto& model : catalog_.list()) all.push_back(model->card.name);
    return all;
  }

  Metrics metrics_;
  LiveSettings settings_{{}};
  Seen<uint64_t> snapshots_asked_;
  std::optional<ModelId> to_load_;  // what the last add() returned
  ModelCatalog catalog_{
      test_catalog(&settings_, &metrics_, [this](uint64_t instance) { snapshots_asked_.add(instance); })};
};

TEST_F(ModelCatalogTest, AModelIsServedFromWhenItIsLoadedUntilItsLastWorkerIsGone) {
  EXPECT_TRUE(catalog_.is_warm()) << "there is nothing to wait for";
  const auto first = add(test_worker(1));
  ASSERT_TRUE(to_load_);
  const ModelId model = *to_load_;
  EXPECT_EQ(catalog_.find("m"), nullptr);
  EXPECT_EQ(catalog_.router_of(1), nullptr) << "it gets no requests yet";
  EXPECT_FALSE(catalog_.is_warm());
  add(test_worker(2));
  EXPECT_FALSE(to_load_) << "it is being loaded";
  catalog_.set_loaded(model, loaded());
  EXPECT_THAT(names(), ElementsAre("m"));
  EXPECT_EQ(catalog_.find("m")->card.vocab_size, 256U);
  EXPECT_NE(catalog_.router_of(1), nullptr);
  EXPECT_EQ(catalog_.router_of(1), catalog_.router_of(2));
  EXPECT_THAT(snapshots_asked_.all(), ElementsAre(1, 2));
  add(test_worker(3));
  EXPECT_NE(catalog_.router_of(3), nullptr) << "at once";
  for (const uint64_t instance : {1, 2}) catalog_.remove(instance);
  EXPECT_TRUE(first->is_retired && !first->is_stopped);
  EXPECT_NE(catalog_.find("m"), nullptr);
  catalog_.remove(3);
  EXPECT_EQ(catalog_.find("m"), nullptr);
  EXPECT_THAT(names(), ElementsAre());
  EXPECT_EQ(catalog_.router_of(3), nullptr);
}

TEST_F(ModelCatalogTest, AModelThatComesAgainIsAnother) {
  add(test_worker(1));
  const ModelId first = *to_load_;
  catalog_.remove(1);
  add(test_worker(1));
  ASSERT_TRUE(to_load_);
  EXPECT_FALSE(*to_load_ == first);
  catalog_.set_loaded(first, loaded());
  EXPECT_EQ(catalog_.find("m"), nullptr) << "what was loaded was for the one that is gone";
  EXPECT_FALSE(catalog_.source_of(first, 0));
  EXPECT_TRUE(catalog_.source_of(*to_load_, 0));
}

TEST_F(ModelCatalogTest, TheContextIsThatOfTheWorkerWithTheShortest) {
  discovery::WorkerInstance shorter = test_worker(2);
  shorter.context_length = 50;
  add(test_worker(1));
  catalog_.set_loaded(*to_load_, loaded());
  EXPECT_EQ(catalog_.find("m")->card.context_length, 100U);
  add(shorter);
  EXPECT_EQ(catalog_.find("m")->card.context_length, 50U);
  catalog_.remove(2);
  EXPECT_EQ(catalog_.find("m")->card.context_length, 100U);
}

TEST_F(ModelCatalogTest, ItsWorkersAreSourcesInTurnUntilItIsLoaded) {
  for (const uint64_t instance : {3, 1}) add(test_worker(instance));
  discovery::WorkerInstance other = test_worker(2);
  other.model = "other";
  add(other);
  const ModelId model{1};
  EXPECT_EQ(catalog_.source_of(model, 0)->instance, 1U);
  EXPECT_EQ(catalog_.source_of(model, 1)->instance, 3U);
  EXPECT_EQ(catalog_.source_of(model, 3)->instance, 1U);
  EXPECT_EQ(catalog_.source_of(model, 1)->digest, test_worker(1).model_digest);
  catalog_.set_loaded(model, loaded());
  EXPECT_FALSE(catalog_.source_of(model, 0));
}

TEST_F(ModelCatalogTest, ItIsWarmWhenTheBlocksOfWorkersThatCanBeReachedAreKnown) {
  add(test_worker(1));
  const auto away = add(test_worker(2));
  away->connected = false;
  catalog_.set_loaded(ModelId{1}, loaded());
  EXPECT_FALSE(catalog_.is_warm());
  catalog_.router_of(1)->on_snapshot(1, 0, {});
  EXPECT_TRUE(catalog_.is_warm());
  EXPECT_EQ(catalog_.views().at(1).state, router::WorkerState::kReady);
  EXPECT_EQ(catalog_.views().at(2).state, router::WorkerState::kConnecting);
  away->connected = true;
  EXPECT_FALSE(catalog_.is_warm());
}

TEST_F(ModelCatalogTest, SettingsHoldForModelsThatAreThereAndThatCome) {
  const std::string key = discovery::config_key("m");
  settings_.apply({key, R"({"router_temperature": 2})"});
  add(test_worker(1));
  catalog_.set_loaded(*to_load_, loaded());
  EXPECT_EQ(catalog_.router_of(1)->settings().temperature, 2);
  const auto slug = settings_.apply({key, R"({"router_temperature": 3})"});
  catalog_.update_settings("another");
  EXPECT_EQ(catalog_.router_of(1)->settings().temperature, 2);
  catalog_.update_settings(*slug);
  EXPECT_EQ(catalog_.router_of(1)->settings().temperature, 3);
}

TEST_F(ModelCatalogTest, ClearingEndsConnections) {
  const auto remote = add(test_worker(1));
  ASSERT_EQ(catalog_.remotes().size(), 1U);
  EXPECT_EQ(catalog_.remotes().front().name, "worker-1");
  EXPECT_EQ(catalog_.remote_of(1), remote);
  catalog_.clear();
  EXPECT_TRUE(remote->is_stopped);
  EXPECT_EQ(catalog_.remote_of(1), nullptr);
  EXPECT_TRUE(catalog_.routers().empty());
}

}  // namespace
}  // namespace dynamo::frontend
