#include "base/metrics.h"

#include <gtest/gtest.h>

namespace dynamo {
namespace {

const MetricSpec kRequests{MetricSpec::Kind::kCounter, "dynamo_test_requests_total", "Requests, by status."};
const MetricSpec kDepth{MetricSpec::Kind::kGauge, "dynamo_test_depth", "Depth in requests."};
const MetricSpec kWait{MetricSpec::Kind::kHistogram, "dynamo_test_wait_seconds", "Wait in seconds.", {0.1, 1}};

TEST(Metrics, AreExposedWithTheirMeaningAndLabels) {
  Metrics metrics;
  metrics.counter(kRequests, {{"status", "ok"}}).Increment();
  metrics.counter(kRequests, {{"status", "ok"}}).Increment();
  metrics.before_expose([&] { metrics.gauge(kDepth).Set(5); });
  metrics.histogram(kWait).Observe(0.5);
  const std::string text = metrics.expose();
  EXPECT_NE(text.find("# HELP dynamo_test_requests_total Requests, by status.\n"), std::string::npos) << text;
  EXPECT_NE(text.find("dynamo_test_requests_total{status=\"ok\"} 2\n"), std::string::npos) << text;
  EXPECT_NE(text.find("dynamo_test_depth 5\n"), std::string::npos) << text;
  EXPECT_NE(text.find("dynamo_test_wait_seconds_bucket{le=\"1\"} 1\n"), std::string::npos) << text;
}

}  // namespace
}  // namespace dynamo
