// What hand-offs count. All carry the label `worker`, as the engine's.
#pragma once

#include <vector>

#include "base/listed_metric.h"

namespace dynamo::handoff {

inline std::vector<const MetricSpec*> kAllMetrics;

inline const ListedMetric kHandoffs{
    &kAllMetrics, MetricSpec::Kind::kCounter, "dynamo_handoff_total",
    "Prompts asked of a prefill worker. Label end: done, given_up (the request ended), unreachable, refused, lost (the "
    "connection "
    "broke), stalled (nothing came for too long), not_arrived (written, but no notice came), wrong (a first token that "
    "cannot be)."};
inline const ListedMetric kLocalPrefills{&kAllMetrics, MetricSpec::Kind::kCounter,
                                         "dynamo_handoff_local_prefills_total",
                                         "Prompts computed by the worker that decodes, or finished by it, after "
                                         "hand-offs had failed. Label reason: the last one's end."};
inline const ListedMetric kRetries{&kAllMetrics, MetricSpec::Kind::kCounter, "dynamo_handoff_retries_total",
                                   "Hand-offs begun because one before had failed."};
inline const ListedMetric kReceivedBlocks{&kAllMetrics, MetricSpec::Kind::kCounter,
                                          "dynamo_handoff_received_blocks_total",
                                          "KV blocks received from prefill workers."};
inline const ListedMetric kReceiving{
    &kAllMetrics, MetricSpec::Kind::kGauge, "dynamo_handoff_receiving",
    "Hand-offs whose blocks are reserved here, those of failed ones included until nobody can write to them."};
inline const ListedMetric kHandoffSeconds{
    &kAllMetrics,
    MetricSpec::Kind::kHistogram,
    "dynamo_handoff_seconds",
    "Seconds from a prompt's reservation to its first token, of hand-offs that were done.",
    {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30}};
inline const ListedMetric kSent{&kAllMetrics, MetricSpec::Kind::kCounter, "dynamo_handoff_sent_total",
                                "Prompts computed for other workers. Label end: done, cancelled, failed."};
inline const ListedMetric kSentBlocks{&kAllMetrics, MetricSpec::Kind::kCounter, "dynamo_handoff_sent_blocks_total",
                                      "KV blocks written into other workers' pools."};
inline const ListedMetric kSentBytes{&kAllMetrics, MetricSpec::Kind::kCounter, "dynamo_handoff_sent_bytes_total",
                                     "Bytes of KV written into other workers' pools. Label backend."};
inline const ListedMetric kQueueSeconds{&kAllMetrics, MetricSpec::Kind::kCounter, "dynamo_handoff_queue_seconds_total",
                                        "Seconds that prompts for other workers waited for their first step."};
inline const ListedMetric kComputeSeconds{&kAllMetrics, MetricSpec::Kind::kCounter,
                                          "dynamo_handoff_compute_seconds_total",
                                          "Seconds from their first step to the end of their last."};
inline const ListedMetric kTransferSeconds{&kAllMetrics, MetricSpec::Kind::kCounter,
                                           "dynamo_handoff_transfer_seconds_total",
                                           "Seconds with a write of a prompt in flight."};
inline const ListedMetric kOverlapSeconds{&kAllMetrics, MetricSpec::Kind::kCounter,
                                          "dynamo_handoff_overlap_seconds_total",
                                          "Seconds of those in which the prompt was still being computed."};
inline const ListedMetric kGigabytesPerSecond{
    &kAllMetrics,
    MetricSpec::Kind::kHistogram,
    "dynamo_handoff_gigabytes_per_second",
    "Rate of one hand-off's writes: bytes divided by the time in which at least one of its writes was in flight.",
    {0.01, 0.05, 0.1, 0.25, 0.5, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512}};

}  // namespace dynamo::handoff
