#include "openai/request_record.h"

#include <numeric>

namespace dynamo::openai {
namespace {

double seconds(Duration duration) {
  return std::chrono::duration<double>(duration).count();
}

const char* name_of(Endpoint endpoint) {
  return endpoint == Endpoint::kChat ? "chat_completions" : "completions";
}

}  // namespace

const ModelMetrics& FrontendMetrics::of_model(const std::string& model) {
  MutexLock lock(mutex_);
  const auto found = models_.find(model);
  if (found != models_.end()) return found->second;
  const MetricLabels labels = {{"model", model}};
  const ModelMetrics made = {&metrics_->gauge(kInflight, labels),
                             &metrics_->histogram(kTimeToFirstToken, labels),
                             &metrics_->histogram(kInterTokenLatency, labels),
                             &metrics_->histogram(kRequestDuration, labels),
                             &metrics_->histogram(kInputTokens, labels),
                             &metrics_->histogram(kOutputTokens, labels),
                             &metrics_->counter(kCachedTokens, labels)};
  return models_.emplace(model, made).first->second;
}

void FrontendMetrics::count_request(const std::string& model, Endpoint endpoint, bool is_stream, int status) {
  MutexLock lock(mutex_);
  prometheus::Counter*& counter = requests_[RequestKey(model, endpoint, is_stream, status)];
  if (!counter) {
    counter = &metrics_->counter(kRequests, {{"model", model},
                                             {"endpoint", name_of(endpoint)},
                                             {"stream", is_stream ? "true" : "false"},
                                             {"status", std::to_string(status)}});
  }
  counter->Increment();
}

RequestRecord::RequestRecord(FrontendMetrics* metrics, Endpoint endpoint) : metrics_(metrics), endpoint_(endpoint) {}

RequestRecord::~RequestRecord() {
  metrics_->count_request(model_, endpoint_, is_stream_, status_);
  if (!series_) return;
  series_->inflight->Decrement();
  series_->request_duration->Observe(seconds(Clock::steady().now() - started_));
}

void RequestRecord::begin(const PreparedRequest& request) {
  model_ = request.model->card.name;
  series_ = &metrics_->of_model(model_);
  series_->inflight->Increment();
  const auto add = [](uint64_t sum, const PreparedPrompt& prompt) { return sum + prompt.tokens.size(); };
  series_->input_tokens->Observe(
      static_cast<double>(std::accumulate(request.prompts.begin(), request.prompts.end(), uint64_t{0}, add)));
}

void RequestRecord::tokens(uint64_t count, Time* latest) {
  if (count == 0) return;
  const Time now = Clock::steady().now();
  if (!has_tokens_) {
    has_tokens_ = true;
    series_->time_to_first_token->Observe(seconds(now - started_));
  }
  if (*latest != Time()) {
    const double each = seconds(now - *latest) / static_cast<double>(count);
    for (uint64_t i = 0; i < count; ++i) series_->inter_token_latency->Observe(each);
  }
  *latest = now;
}

void RequestRecord::finish(int http_status, const Usage& usage) {
  status_ = http_status;
  if (!series_) return;
  series_->output_tokens->Observe(static_cast<double>(usage.completion_tokens));
  series_->cached_tokens->Increment(static_cast<double>(usage.cached_tokens));
}

}  // namespace dynamo::openai
