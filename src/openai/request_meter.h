// Measures one request for /metrics, from its arrival to its end, whichever way it ends.
// Threads: one per request.
#pragma once

#include <string>

#include "base/clock.h"
#include "base/metrics.h"

namespace dynamo::openai {

class RequestMeter {
 public:
  // `model` is a served name: others must not become label values.
  RequestMeter(Metrics* metrics, std::string model, const char* endpoint, bool is_stream);
  ~RequestMeter();
  RequestMeter(const RequestMeter&) = delete;
  RequestMeter& operator=(const RequestMeter&) = delete;

  void on_prompt(uint64_t tokens);
  // Call when tokens arrived, with how many there are by now.
  void on_tokens(uint64_t total);
  // The answer's HTTP status. A request that ends without one counts as 499: the client went away.
  void on_end(int status, uint64_t cached_tokens);

 private:
  Metrics* metrics_;
  MetricLabels model_;
  MetricLabels labels_;
  Time started_ = Clock::steady().now();
  Time last_token_;
  uint64_t tokens_ = 0;
  int status_ = 499;
};

}  // namespace dynamo::openai
