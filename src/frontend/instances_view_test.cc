#include "frontend/instances_view.h"

#include <gtest/gtest.h>

#include <boost/json/serialize.hpp>

#include "frontend/testing/test_worker.h"

namespace dynamo::frontend {
namespace {

TEST(InstancesView, SaysOfEachMemberWhatBecameOfIt) {
  Members members;
  for (const auto& [key, instance] : {std::pair("a", 1), std::pair("b", 2), std::pair("d", 4)})
    members[key].worker = test_worker(instance);
  members["b"].state = Member::State::kUnlisted;
  members["c\xFF"].state = Member::State::kRefused;
  members["c\xFF"].refusal = "no JSON";
  std::map<uint64_t, router::WorkerView> views;
  for (const uint64_t instance : {1, 2}) {
    router::WorkerView& view = views[instance];
    view.state = router::WorkerState::kReady;
    view.cached_blocks = 10 + instance;
    view.index_state = router::KvFeed::State::kProven;
  }
  const boost::json::array shown = instances_view(members, views);
  ASSERT_EQ(shown.size(), 4U);
  EXPECT_EQ(boost::json::serialize(shown.at(0)),
            R"({"worker":"worker-1","instance":"0000000000000001","role":"aggregated","model":"m",)"
            R"("address":"127.0.0.1:1","state":"ready","active_requests":0,"queued_tokens":0,"active_blocks":0,)"
            R"("cached_blocks":11,"total_blocks":0,"index":"proven"})");
  EXPECT_EQ(shown.at(1).at("state").as_string(), "ready");
  EXPECT_EQ(shown.at(1).at("why").as_string(), "its key is gone; it stays while it is connected");
  EXPECT_EQ(boost::json::serialize(shown.at(2)),
            R"({"worker":"","instance":"0000000000000000","role":"aggregated","model":"","address":"",)"
            R"("state":"refused","why":"no JSON","key":"c)"
            "\xEF\xBF\xBD"
            R"("})");
  EXPECT_EQ(shown.at(3).at("state").as_string(), "loading model");
}

}  // namespace
}  // namespace dynamo::frontend
