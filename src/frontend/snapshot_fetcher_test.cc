#include "frontend/snapshot_fetcher.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/testing/patience.h"
#include "frontend/bundle_loader.h"
#include "frontend/testing/test_catalog.h"
#include "frontend/testing/test_worker.h"
#include "rpc/testing/fake_worker_client.h"

namespace dynamo::frontend {
namespace {

using rpc::FakeWorkerClient;

class SnapshotFetcherTest : public testing::Test {
 protected:
  SnapshotFetcherTest() {
    const auto model = catalog_.add(test_worker(1), remote_);
    model_ = *model;
  }
  ~SnapshotFetcherTest() override { scope_->stop(); }

  // Lets the model's router ask for the first snapshot.
  void load() {
    catalog_.set_loaded(model_, std::move(open_bundle(test_bundle(), test_worker(1).model_digest)).value());
  }
  router::WorkerView view() const { return catalog_.views().at(1); }

  Metrics metrics_;
  LiveSettings settings_{{}};
  IoThreads io_{1};
  const std::shared_ptr<TaskScope> scope_ = std::make_shared<TaskScope>(&io_);
  ModelCatalog catalog_{test_catalog(&settings_, &metrics_, fetch_snapshots(&catalog_, scope_))};
  const std::shared_ptr<FakeWorkerClient> remote_ = std::make_shared<FakeWorkerClient>();
  ModelId model_;
};

TEST_F(SnapshotFetcherTest, TheRouterGetsTheBlocksThatTheWorkerHolds) {
  remote_->give_blocks(wire::BlockSnapshot{.last_event = 7, .held = {{{{{1}, {2}, {3}}}}}});
  load();
  EXPECT_TRUE(wait_until([&] { return view().state == router::WorkerState::kReady; }));
  EXPECT_EQ(view().cached_blocks, 3U);
}

TEST_F(SnapshotFetcherTest, AFailureIsToldToTheRouterWhichMayAskAgain) {
  remote_->give_blocks(unavailable("cut off"));
  load();
  // A heartbeat of a worker whose blocks are not known asks, once a fetch has failed.
  remote_->give_blocks(wire::BlockSnapshot{});
  const std::string heartbeat("\x09\x01\0\0\0\0\0\0\0", 9);  // wire::Heartbeat of instance 1
  EXPECT_TRUE(wait_until([&] {
    catalog_.router_of(1)->on_heartbeat(1, heartbeat);
    return view().state == router::WorkerState::kReady;
  }));
}

TEST_F(SnapshotFetcherTest, AWorkerThatLeftIsNotAsked) {
  const auto fetch = fetch_snapshots(&catalog_, scope_);
  catalog_.remove(1);
  fetch(1);
  fetch(99);
  scope_->stop();
  EXPECT_EQ(remote_->blocks_asked, 0U);
}

TEST_F(SnapshotFetcherTest, StoppingEndsAFetchThatHangsAndLaterOnesDoNothing) {
  load();
  EXPECT_TRUE(wait_until([&] { return remote_->blocks_asked == 1; }));
  scope_->stop();
  fetch_snapshots(&catalog_, scope_)(1);
  EXPECT_EQ(remote_->blocks_asked, 1U);
  EXPECT_EQ(view().state, router::WorkerState::kLoadingIndex);
}

}  // namespace
}  // namespace dynamo::frontend
