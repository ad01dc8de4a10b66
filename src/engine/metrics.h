// What the engine counts. All carry the label `worker`: the worker's name, which changes with its role.
#pragma once

#include <vector>

#include "base/metrics.h"

namespace dynamo::engine {

inline const MetricSpec kRunning{MetricSpec::Kind::kGauge, "dynamo_engine_running_sequences",
                                 "Sequences being computed."};
inline const MetricSpec kWaiting{MetricSpec::Kind::kGauge, "dynamo_engine_waiting_sequences",
                                 "Sequences waiting for admission."};
inline const MetricSpec kUsedBlocks{MetricSpec::Kind::kGauge, "dynamo_engine_used_blocks",
                                    "KV blocks held by sequences."};
inline const MetricSpec kCachedBlocks{MetricSpec::Kind::kGauge, "dynamo_engine_cached_blocks",
                                      "KV blocks that no sequence holds and that may be reused."};
inline const MetricSpec kTotalBlocks{MetricSpec::Kind::kGauge, "dynamo_engine_total_blocks", "KV blocks in the pool."};
inline const MetricSpec kPromptTokens{MetricSpec::Kind::kCounter, "dynamo_engine_prompt_tokens_total",
                                      "Prompt tokens of admitted requests, cached ones included."};
inline const MetricSpec kCachedTokens{MetricSpec::Kind::kCounter, "dynamo_engine_cached_tokens_total",
                                      "Prompt tokens whose KV was found in the cache."};
inline const MetricSpec kGeneratedTokens{MetricSpec::Kind::kCounter, "dynamo_engine_generated_tokens_total",
                                         "Tokens drawn."};
inline const MetricSpec kPreemptions{MetricSpec::Kind::kCounter, "dynamo_engine_preemptions_total",
                                     "Times a sequence lost its blocks to another and had to be computed again."};
inline const MetricSpec kStepRows{MetricSpec::Kind::kHistogram,
                                  "dynamo_engine_step_rows",
                                  "Tokens computed per step.",
                                  {1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 4096}};
inline const MetricSpec kStepSeconds{MetricSpec::Kind::kHistogram,
                                     "dynamo_engine_step_seconds",
                                     "Seconds per step.",
                                     {0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5}};
inline const MetricSpec kQueueSeconds{MetricSpec::Kind::kHistogram,
                                      "dynamo_engine_queue_seconds",
                                      "Seconds from a request's arrival at the engine to its admission.",
                                      {0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60}};

inline const std::vector<const MetricSpec*> kAllMetrics = {
    &kRunning,      &kWaiting,         &kUsedBlocks,  &kCachedBlocks, &kTotalBlocks, &kPromptTokens,
    &kCachedTokens, &kGeneratedTokens, &kPreemptions, &kStepRows,     &kStepSeconds, &kQueueSeconds};

}  // namespace dynamo::engine
