#include "router/decision_log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <random>

namespace dynamo::router {
namespace {

using ::testing::ElementsAre;

std::vector<double> costs_of(const std::vector<Decision::Considered>& considered) {
  std::vector<double> costs;
  for (const auto& one : considered) costs.push_back(one.as.cost);
  return costs;
}

TEST(DecisionLog, OfFewCandidatesAllAreRemembered) {
  const std::vector<Candidate> few = {{.name = "a", .cost = 9}, {.name = "b", .cost = 1}};
  const auto considered = most_likely(few);
  EXPECT_THAT(costs_of(considered), ElementsAre(9, 1));
  EXPECT_EQ(considered[1].worker, "b");
  EXPECT_TRUE(considered[1].as.name.empty()) << "it would point into a worker that may be gone";
}

TEST(DecisionLog, OfManyCandidatesThe64CheapestAreRememberedInTheirOrder) {
  for (const int kinds : {1, 2, 10, 1'000'000}) {  // of costs: the fewer, the more are equal
    std::mt19937 random(static_cast<unsigned>(kinds));
    std::vector<Candidate> many(500);
    for (Candidate& one : many) one.cost = static_cast<double>(random() % static_cast<unsigned>(kinds));
    for (size_t i = 0; i < many.size(); ++i) many[i].instance = i;
    const auto considered = most_likely(many);
    ASSERT_EQ(considered.size(), 64U);
    EXPECT_TRUE(std::ranges::is_sorted(considered, {}, [](const auto& one) { return one.as.instance; }));
    auto costs = costs_of(considered);
    std::ranges::sort(costs);
    std::ranges::sort(many, {}, &Candidate::cost);
    for (size_t i = 0; i < costs.size(); ++i) ASSERT_EQ(costs[i], many[i].cost) << kinds;
  }
}

TEST(DecisionLog, AddsNothingWhereNothingIsToBeRemembered) {
  DecisionLog log(0);
  Decision decision;
  decision.request_id = "r1";
  EXPECT_EQ(log.add(std::move(decision))->request_id, "r1");
  EXPECT_TRUE(log.latest(10, "").empty());
}

}  // namespace
}  // namespace dynamo::router
