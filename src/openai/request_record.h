// What one request adds to the metrics, counted however it ends.
// Threads: a RequestRecord belongs to its request; FrontendMetrics may be used from any thread.  Private to the module.
#pragma once

#include <map>
#include <string>
#include <tuple>

#include "base/clock.h"
#include "base/mutex.h"
#include "openai/metrics.h"
#include "openai/preparation.h"
#include "openai/reply_writer.h"

namespace dynamo::openai {

// One model's series, looked up once.
struct ModelMetrics {
  prometheus::Gauge* inflight;
  prometheus::Histogram* time_to_first_token;
  prometheus::Histogram* inter_token_latency;
  prometheus::Histogram* request_duration;
  prometheus::Histogram* input_tokens;
  prometheus::Histogram* output_tokens;
  prometheus::Counter* cached_tokens;
};

class FrontendMetrics {
 public:
  explicit FrontendMetrics(Metrics* metrics) : metrics_(metrics) {}

  // Requires: `model` is a served name, so that clients cannot make series.
  const ModelMetrics& of_model(const std::string& model);
  void count_request(const std::string& model, Endpoint endpoint, bool is_stream, int status);

 private:
  using RequestKey = std::tuple<std::string, Endpoint, bool, int>;

  Metrics* metrics_;
  Mutex mutex_;
  std::map<std::string, ModelMetrics> models_ GUARDED_BY(mutex_);
  std::map<RequestKey, prometheus::Counter*> requests_ GUARDED_BY(mutex_);
};

class RequestRecord {
 public:
  RequestRecord(FrontendMetrics* metrics, Endpoint endpoint);
  // Counts the request. Without finish() the client was gone.
  ~RequestRecord();
  RequestRecord(const RequestRecord&) = delete;
  RequestRecord& operator=(const RequestRecord&) = delete;

  // The request is for a model that is served, and its prompts have been read.
  void begin(const PreparedRequest& request);
  // Tokens of one choice have arrived; `choice_started` is when its former ones did and is moved on.
  void tokens(uint64_t count, Time* choice_latest);
  void finish(int http_status, const Usage& usage);
  void finish(int http_status) { finish(http_status, Usage{}); }
  void set_stream(bool is_stream) { is_stream_ = is_stream; }

 private:
  FrontendMetrics* metrics_;
  Endpoint endpoint_;
  Time started_ = Clock::steady().now();
  std::string model_ = "unknown";
  const ModelMetrics* series_ = nullptr;  // null until begin()
  bool is_stream_ = false;
  bool has_tokens_ = false;
  int status_ = 499;
};

}  // namespace dynamo::openai
