// What the frontend counts.
#pragma once

#include <vector>

#include "base/metrics.h"

namespace dynamo::openai {

inline const MetricSpec kRequests{MetricSpec::Kind::kCounter, "dynamo_frontend_requests_total",
                                  "Requests that named a model, by model, endpoint, stream or unary, and HTTP status."};
inline const MetricSpec kInFlight{MetricSpec::Kind::kGauge, "dynamo_frontend_inflight_requests",
                                  "Requests being answered, by model."};
inline const MetricSpec kDuration{MetricSpec::Kind::kHistogram,
                                  "dynamo_frontend_request_duration_seconds",
                                  "Seconds from a request's arrival to the end of its answer, by model.",
                                  {0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300}};
inline const MetricSpec kTimeToFirstToken{MetricSpec::Kind::kHistogram,
                                          "dynamo_frontend_time_to_first_token_seconds",
                                          "Seconds from a request's arrival to its first token (TTFT), by model.",
                                          {0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60}};
inline const MetricSpec kInterTokenLatency{MetricSpec::Kind::kHistogram,
                                           "dynamo_frontend_inter_token_latency_seconds",
                                           "Seconds between two tokens of an answer (ITL), by model.",
                                           {0.001, 0.0025, 0.005, 0.01, 0.015, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5}};
inline const MetricSpec kInputTokens{MetricSpec::Kind::kHistogram,
                                     "dynamo_frontend_input_sequence_tokens",
                                     "Tokens per prompt, by model.",
                                     {16, 64, 256, 1024, 2048, 4096, 8192, 16384, 32768, 65536, 131072}};
inline const MetricSpec kOutputTokens{MetricSpec::Kind::kHistogram,
                                      "dynamo_frontend_output_sequence_tokens",
                                      "Tokens per answer, by model.",
                                      {1, 4, 16, 64, 256, 1024, 4096, 16384}};
inline const MetricSpec kCachedTokens{MetricSpec::Kind::kCounter, "dynamo_frontend_cached_tokens_total",
                                      "Prompt tokens that workers found in their caches, by model."};

inline const std::vector<const MetricSpec*> kAllMetrics = {&kRequests,         &kInFlight,          &kDuration,
                                                           &kTimeToFirstToken, &kInterTokenLatency, &kInputTokens,
                                                           &kOutputTokens,     &kCachedTokens};

}  // namespace dynamo::openai
