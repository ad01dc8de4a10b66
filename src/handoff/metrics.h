// What hand-offs count. All carry the label `worker`, as the engine's.
#pragma once

#include <vector>

#include "base/metrics.h"

namespace dynamo::handoff {

inline const MetricSpec kHandoffs{
    MetricSpec::Kind::kCounter, "dynamo_handoff_total",
    "Prompts asked of a prefill worker. Label end: done, given_up (the request ended), unreachable, refused, lost (the "
    "connection "
    "broke), stalled (nothing came for too long), not_arrived (written, but no notice came), wrong (a first token that "
    "cannot be)."};
inline const MetricSpec kLocalPrefills{MetricSpec::Kind::kCounter, "dynamo_handoff_local_prefills_total",
                                       "Prompts computed by the worker that decodes, or finished by it, after "
                                       "hand-offs had failed. Label reason: the last one's end."};
inline const MetricSpec kRetries{MetricSpec::Kind::kCounter, "dynamo_handoff_retries_total",
                                 "Hand-offs begun because one before had failed."};
inline const MetricSpec kReceivedBlocks{MetricSpec::Kind::kCounter, "dynamo_handoff_received_blocks_total",
                                        "KV blocks received from prefill workers."};
inline const MetricSpec kReceiving{
    MetricSpec::Kind::kGauge, "dynamo_handoff_receiving",
    "Hand-offs whose blocks are reserved here, those of failed ones included until nobody can write to them."};
inline const MetricSpec kHandoffSeconds{
    MetricSpec::Kind::kHistogram,
    "dynamo_handoff_seconds",
    "Seconds from a prompt's reservation to its first token, of hand-offs that were done.",
    {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30}};
inline const MetricSpec kSent{MetricSpec::Kind::kCounter, "dynamo_handoff_sent_total",
                              "Prompts computed for other workers. Label end: done, cancelled, failed."};
inline const MetricSpec kSentBlocks{MetricSpec::Kind::kCounter, "dynamo_handoff_sent_blocks_total",
                                    "KV blocks written into other workers' pools."};
inline const MetricSpec kSentBytes{MetricSpec::Kind::kCounter, "dynamo_handoff_sent_bytes_total",
                                   "Bytes of KV written into other workers' pools. Label backend."};
inline const MetricSpec kQueueSeconds{MetricSpec::Kind::kCounter, "dynamo_handoff_queue_seconds_total",
                                      "Seconds that prompts for other workers waited for their first step."};
inline const MetricSpec kComputeSeconds{MetricSpec::Kind::kCounter, "dynamo_handoff_compute_seconds_total",
                                        "Seconds from their first step to the end of their last."};
inline const MetricSpec kTransferSeconds{MetricSpec::Kind::kCounter, "dynamo_handoff_transfer_seconds_total",
                                         "Seconds with a write of a prompt in flight."};
inline const MetricSpec kOverlapSeconds{MetricSpec::Kind::kCounter, "dynamo_handoff_overlap_seconds_total",
                                        "Seconds of those in which the prompt was still being computed."};
inline const MetricSpec kGigabytesPerSecond{
    MetricSpec::Kind::kHistogram,
    "dynamo_handoff_gigabytes_per_second",
    "Rate of one hand-off's writes: bytes divided by the time in which at least one of its writes was in flight.",
    {0.01, 0.05, 0.1, 0.25, 0.5, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512}};

inline const std::vector<const MetricSpec*> kAllMetrics = {
    &kHandoffs,       &kLocalPrefills,     &kRetries,   &kReceivedBlocks, &kReceiving,      &kHandoffSeconds,
    &kSent,           &kSentBlocks,        &kSentBytes, &kQueueSeconds,   &kComputeSeconds, &kTransferSeconds,
    &kOverlapSeconds, &kGigabytesPerSecond};

}  // namespace dynamo::handoff
