// What the router counts. Labels: model, and worker where it is about one.
#pragma once

#include "base/metrics.h"

namespace dynamo::router {

inline const MetricSpec kDecisions{MetricSpec::Kind::kCounter, "dynamo_router_decisions_total",
                                   "Requests sent to a worker, by worker and reason."};
inline const MetricSpec kRefusals{MetricSpec::Kind::kCounter, "dynamo_router_refusals_total",
                                  "Requests that a worker refused or failed before their first token, by worker."};
inline const MetricSpec kMigrations{
    MetricSpec::Kind::kCounter, "dynamo_router_migrations_total",
    "Streams that broke off at a worker and went on at another, by the worker that broke."};
inline const MetricSpec kActive{MetricSpec::Kind::kGauge, "dynamo_router_active_requests",
                                "Requests sent to a worker and not over yet, by worker."};
inline const MetricSpec kActiveBlocks{MetricSpec::Kind::kGauge, "dynamo_router_active_blocks",
                                      "Distinct KV blocks that a worker works on, as the router counts, by worker."};
inline const MetricSpec kPendingTokens{MetricSpec::Kind::kGauge, "dynamo_router_pending_prefill_tokens",
                                       "Prompt tokens sent to a worker and not computed yet, by worker."};
inline const MetricSpec kPromptBlocks{MetricSpec::Kind::kCounter, "dynamo_router_prompt_blocks_total",
                                      "KV blocks of the prompts sent to a worker, by worker."};
inline const MetricSpec kOverlapBlocks{
    MetricSpec::Kind::kCounter, "dynamo_router_overlap_blocks_total",
    "Of those, blocks that the worker held already; the quotient is the hit rate, by worker."};
inline const MetricSpec kIndexBlocks{MetricSpec::Kind::kGauge, "dynamo_router_index_blocks",
                                     "Blocks that the index knows of a worker, by worker."};
inline const MetricSpec kIndexDistinct{MetricSpec::Kind::kGauge, "dynamo_router_index_distinct_blocks",
                                       "Distinct blocks in the index."};
inline const MetricSpec kIndexBytes{MetricSpec::Kind::kGauge, "dynamo_router_index_bytes",
                                    "Memory of the index; --router-index-mib is its limit."};
inline const MetricSpec kIndexEvicted{MetricSpec::Kind::kGauge, "dynamo_router_index_evicted_blocks",
                                      "Distinct blocks that the index has forgotten at its limit so far."};
inline const MetricSpec kIndexState{MetricSpec::Kind::kGauge, "dynamo_router_index_state",
                                    "How sure the index is of a worker: 0 unknown, 1 catching up, 2 proven equal, 3 "
                                    "partial for want of memory, by worker."};
inline const MetricSpec kEvents{MetricSpec::Kind::kCounter, "dynamo_router_kv_events_total",
                                "KV events applied, by worker."};
inline const MetricSpec kGaps{MetricSpec::Kind::kCounter, "dynamo_router_kv_event_gaps_total",
                              "Times that KV events were missing, by worker."};
inline const MetricSpec kMismatches{MetricSpec::Kind::kCounter, "dynamo_router_kv_mismatches_total",
                                    "Times that a worker's digest was another than the index's, by worker."};
inline const MetricSpec kSnapshots{MetricSpec::Kind::kCounter, "dynamo_router_kv_snapshots_total",
                                   "Snapshots taken over from a worker, by worker."};
inline const MetricSpec kIgnored{MetricSpec::Kind::kCounter, "dynamo_router_ignored_messages_total",
                                 "Messages of the event bus about unknown workers, or that could not be read."};
inline const MetricSpec kPolicyFaults{
    MetricSpec::Kind::kCounter, "dynamo_router_policy_faults_total",
    "Choices of a policy library that could not be used; the mode's own policy made them."};
inline const MetricSpec kWaiting{MetricSpec::Kind::kGauge, "dynamo_router_waiting_requests",
                                 "Requests that wait because every worker is busy."};
inline const MetricSpec kDecisionSeconds{MetricSpec::Kind::kHistogram,
                                         "dynamo_router_decision_seconds",
                                         "Time that choosing a worker took.",
                                         {1e-6, 2e-6, 5e-6, 1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 1e-2}};

inline const std::vector<const MetricSpec*> kAllMetrics = {
    &kDecisions,     &kRefusals,    &kMigrations,    &kActive,     &kActiveBlocks, &kPendingTokens, &kPromptBlocks,
    &kOverlapBlocks, &kIndexBlocks, &kIndexDistinct, &kIndexBytes, &kIndexEvicted, &kIndexState,    &kEvents,
    &kGaps,          &kMismatches,  &kSnapshots,     &kIgnored,    &kPolicyFaults, &kWaiting,       &kDecisionSeconds};

}  // namespace dynamo::router
