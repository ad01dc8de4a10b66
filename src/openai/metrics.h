// What the API layer counts. Labels: `model` is a served name, or "unknown" for a request that names none.
#pragma once

#include <vector>

#include "base/listed_metric.h"

namespace dynamo::openai {

inline std::vector<const MetricSpec*> kAllMetrics;

inline const ListedMetric kRequests{
    &kAllMetrics, MetricSpec::Kind::kCounter, "dynamo_frontend_requests_total",
    "Requests for completions, by model, endpoint, whether streamed, and HTTP status (499: the client left; "
    "for a stream that broke, the status that its error stands for)."};
inline const ListedMetric kInflight{&kAllMetrics, MetricSpec::Kind::kGauge, "dynamo_frontend_inflight_requests",
                                    "Requests accepted and not over yet, by model."};
inline const ListedMetric kTimeToFirstToken{
    &kAllMetrics,
    MetricSpec::Kind::kHistogram,
    "dynamo_frontend_time_to_first_token_seconds",
    "From a request's arrival to its first token, in seconds, by model.",
    {.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 120, 300}};
inline const ListedMetric kInterTokenLatency{
    &kAllMetrics,
    MetricSpec::Kind::kHistogram,
    "dynamo_frontend_inter_token_latency_seconds",
    "Between two tokens of one choice, in seconds, by model.",
    {.001, .0025, .005, .0075, .01, .015, .02, .03, .05, .075, .1, .25, .5, 1, 2.5}};
inline const ListedMetric kRequestDuration{&kAllMetrics,
                                           MetricSpec::Kind::kHistogram,
                                           "dynamo_frontend_request_duration_seconds",
                                           "From a request's arrival to the end of its answer, in seconds, by model.",
                                           {.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600}};
inline const ListedMetric kInputTokens{&kAllMetrics,
                                       MetricSpec::Kind::kHistogram,
                                       "dynamo_frontend_input_sequence_tokens",
                                       "Tokens of a request's prompts, by model.",
                                       {16, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768, 65536, 131072}};
inline const ListedMetric kOutputTokens{&kAllMetrics,
                                        MetricSpec::Kind::kHistogram,
                                        "dynamo_frontend_output_sequence_tokens",
                                        "Tokens generated for a request, by model.",
                                        {1, 4, 16, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768}};
inline const ListedMetric kCachedTokens{&kAllMetrics, MetricSpec::Kind::kCounter,
                                        "dynamo_frontend_cached_prompt_tokens_total",
                                        "Prompt tokens that were found in a worker's cache, by model."};

}  // namespace dynamo::openai
