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

TEST(Metrics, ALabelShownWithAnotherValueGoesOnWithItsCounts) {
  Metrics metrics;
  metrics.counter(kRequests, {{"worker", "prefill-worker-1"}}).Increment(3);
  metrics.counter(kRequests, {{"worker", "decode-worker-1"}}).Increment(5);
  const auto has = [&](const char* line) { return metrics.expose().find(line) != std::string::npos; };
  metrics.show_label("worker", "prefill-worker-1", "decode-worker-2");
  metrics.counter(kRequests, {{"worker", "prefill-worker-1"}}).Increment();
  metrics.gauge(kDepth, {{"worker", "prefill-worker-1"}}).Set(7);
  EXPECT_TRUE(has("dynamo_test_requests_total{worker=\"decode-worker-2\"} 4\n"));
  EXPECT_TRUE(has("dynamo_test_depth{worker=\"decode-worker-2\"} 7\n"));
  EXPECT_FALSE(has("prefill-worker-1"));
  // Its first value may be what another is shown with.
  metrics.show_label("worker", "decode-worker-1", "prefill-worker-1");
  EXPECT_TRUE(has("dynamo_test_requests_total{worker=\"prefill-worker-1\"} 5\n"));
  EXPECT_TRUE(has("dynamo_test_requests_total{worker=\"decode-worker-2\"} 4\n"));
  metrics.show_label("worker", "prefill-worker-1", "worker-1");
  EXPECT_TRUE(has("dynamo_test_requests_total{worker=\"worker-1\"} 4\n"));
  EXPECT_FALSE(has("decode-worker-"));
}

}  // namespace
}  // namespace dynamo
