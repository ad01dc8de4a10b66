#include "load/report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "load/shared_cache.h"

namespace dynamo::load {
namespace {

using std::chrono::milliseconds;
using testing::HasSubstr;
using testing::Not;

Sample sample(int first_ms, int total_ms, std::vector<int> gaps_ms, const std::string& worker) {
  Sample one;
  one.first_token = milliseconds(first_ms);
  one.total = milliseconds(total_ms);
  for (const int gap : gaps_ms) one.gaps.push_back(milliseconds(gap));
  one.prompt_tokens = 100;
  one.cached_tokens = 40;
  one.ideal_cached_tokens = 60;
  one.completion_tokens = gaps_ms.size() + 1;
  one.worker = worker;
  return one;
}

TEST(Distribution, PercentilesAreTheNearestRanks) {
  std::vector<double> values;
  for (int i = 100; i >= 1; --i) values.push_back(i);
  const Distribution d = distribution_of(values);
  EXPECT_EQ(d.count, 100U);
  EXPECT_DOUBLE_EQ(d.mean, 50.5);
  EXPECT_EQ(d.p50, 50);
  EXPECT_EQ(d.p90, 90);
  EXPECT_EQ(d.p99, 99);
  EXPECT_EQ(d.max, 100);
  EXPECT_EQ(distribution_of({3}).p99, 3);
  EXPECT_EQ(distribution_of({}).count, 0U);
}

TEST(Report, AddsUpWhatWasAnsweredAndCountsWhatFailed) {
  RunResult run;
  run.wall = milliseconds(2000);
  run.samples = {sample(10, 30, {10, 10}, "worker-1"), sample(20, 60, {40}, "worker-2"), Sample(), Sample()};
  run.samples[2].error = run.samples[3].error = "HTTP 503: busy";
  const Report report = report_of(run);
  EXPECT_EQ(report.complete, 2U);
  EXPECT_EQ(report.errors.at("HTTP 503: busy"), 2U);
  EXPECT_DOUBLE_EQ(report.ttft_ms.mean, 15);
  EXPECT_DOUBLE_EQ(report.itl_ms.mean, 20);
  EXPECT_DOUBLE_EQ(report.tpot_ms.max, 40);
  EXPECT_DOUBLE_EQ(report.requests_per_s, 1);
  EXPECT_DOUBLE_EQ(report.output_tokens_per_s, 2.5);
  const std::string table = to_table(report);
  EXPECT_THAT(table, HasSubstr("2 complete, 2 failed, in 2.00 s"));
  EXPECT_THAT(table, HasSubstr("200, cached 80 (40.0%)"));
  EXPECT_THAT(table, HasSubstr("would have held 120 (60.0%)"));
  EXPECT_THAT(table, HasSubstr("2x HTTP 503: busy"));
  EXPECT_THAT(table, Not(HasSubstr("CAUTION")));
  const auto json = to_json(report);
  EXPECT_EQ(json.at("failed").to_number<uint64_t>(), 2U);
  EXPECT_DOUBLE_EQ(json.at("cached_share").as_double(), 0.4);
  EXPECT_DOUBLE_EQ(json.at("ttft_ms").at("p99").as_double(), 20);
}

TEST(Report, SaysWhenTheClientMayHaveBeenTheSlowPart) {
  RunResult busy;
  busy.client_cpu = 0.95;
  EXPECT_THAT(report_of(busy).bottleneck, HasSubstr("busy 95%"));
  RunResult late;
  late.lateness = {milliseconds(20), milliseconds(1)};
  EXPECT_THAT(report_of(late).bottleneck, HasSubstr("20.0 ms late"));
  EXPECT_THAT(to_table(report_of(late)), HasSubstr("CAUTION"));
}

TEST(SharedCache, HoldsEarlierWholeBlocksAndLeavesOneTokenToCompute) {
  SharedCache cache(4);
  const std::vector<TokenId> prompt{1, 2, 3, 4, 5, 6, 7, 8, 9};
  EXPECT_EQ(cache.take(prompt), 0U);
  EXPECT_EQ(cache.take(prompt), 8U);
  EXPECT_EQ(cache.take(std::span(prompt).first(8)), 4U);  // the last block again, for its last token
  const std::vector<TokenId> other{1, 2, 3, 4, 0, 6, 7, 8, 9};
  EXPECT_EQ(cache.take(other), 4U);
  EXPECT_EQ(cache.take(std::vector<TokenId>{1, 2}), 0U);
}

}  // namespace
}  // namespace dynamo::load
