#include "openai/request_meter.h"

#include "openai/metrics.h"

namespace dynamo::openai {
namespace {

double seconds(Duration duration) {
  return std::chrono::duration<double>(duration).count();
}

}  // namespace

RequestMeter::RequestMeter(Metrics* metrics, std::string model, const char* endpoint, bool is_stream)
    : metrics_(metrics),
      model_({{"model", model}}),
      labels_({{"model", model}, {"endpoint", endpoint}, {"mode", is_stream ? "stream" : "unary"}}) {
  metrics_->gauge(kInFlight, model_).Increment();
}

RequestMeter::~RequestMeter() {
  metrics_->gauge(kInFlight, model_).Decrement();
  metrics_->histogram(kDuration, model_).Observe(seconds(Clock::steady().now() - started_));
  if (tokens_ > 0) metrics_->histogram(kOutputTokens, model_).Observe(static_cast<double>(tokens_));
  labels_["status"] = std::to_string(status_);
  metrics_->counter(kRequests, labels_).Increment();
}

void RequestMeter::on_prompt(uint64_t tokens) {
  metrics_->histogram(kInputTokens, model_).Observe(static_cast<double>(tokens));
}

void RequestMeter::on_tokens(uint64_t total) {
  if (total <= tokens_) return;
  const Time now = Clock::steady().now();
  if (tokens_ == 0) {
    metrics_->histogram(kTimeToFirstToken, model_).Observe(seconds(now - started_));
  } else {
    const double each = seconds(now - last_token_) / static_cast<double>(total - tokens_);
    auto& histogram = metrics_->histogram(kInterTokenLatency, model_);
    for (uint64_t i = tokens_; i < total; ++i) histogram.Observe(each);
  }
  tokens_ = total;
  last_token_ = now;
}

void RequestMeter::on_end(int status, uint64_t cached_tokens) {
  status_ = status;
  metrics_->counter(kCachedTokens, model_).Increment(static_cast<double>(cached_tokens));
}

}  // namespace dynamo::openai
