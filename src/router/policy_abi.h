// How a routing policy of your own talks to the router: plain C, one exported function.
//
// Build a shared library that exports dynamo_policy_v1 and give it to `dynamo frontend --router-policy-library libmine.so`: it takes the
// place of the mode's policy.  Guide: docs/reference/routing.md.  Example: examples/policies/sticky_session.c.
//
// Threads: the calls for one policy come one at a time, from changing threads, under the router's lock: no request is routed meanwhile, so
//   choose() must not block (no files, no sockets, no waiting) and should take microseconds. Every model that is served has a policy of
//   its own and a lock of its own: data that policies share (static variables) is the library's to protect.
// Ownership: what the router passes in is valid during the call only; what the library hands out must stay as it is while it is loaded,
//   which is as long as any of its policies lives.
// Errors: no C++ exception may leave a call, nor a longjmp. A choice that cannot be used (an index that no candidate has, a reason that is
//   NULL, empty or not printable ASCII) is counted in dynamo_router_policy_faults_total and logged once; the mode's own policy decides instead.
// Growth: new fields come at the ends of question, candidate and table; `size` and `candidate_size` say how large these are in the program
//   that runs, and a library must look there before it reads a field that a release before its own did not have.
//   DYNAMO_POLICY_ABI_VERSION changes when that is not enough; the router takes its own version only.
#pragma once

// NOLINTBEGIN: C, and its names
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define DYNAMO_POLICY_ABI_VERSION 1

// Text of `size` bytes, with no NUL at its end.
typedef struct dynamo_policy_text {
  const char* data;
  size_t size;
} dynamo_policy_text;

// A worker that could take the request.
typedef struct dynamo_policy_candidate {
  dynamo_policy_text name;   // "worker-1"
  uint64_t instance;         // the worker's id (nvext.backend_instance_id)
  uint64_t active_requests;  // sent there by this router and not over yet
  uint32_t overlap_blocks;   // leading blocks of the prompt that it holds
  double prefill_blocks;     // prompt tokens it has still to compute, this request's included, in blocks
  double decode_blocks;      // distinct blocks it works on, this request's included
  double cost;               // what mode kv goes by (docs/reference/routing.md); lower is better
  uint64_t sequences;        // in flight there, whoever sent them
  double rounds;             // of answers that end there before this one begins; 0: it has a place
} dynamo_policy_candidate;

// One request and the workers to choose from.
typedef struct dynamo_policy_question {
  size_t size;            // of this struct, in bytes
  size_t candidate_size;  // from one candidate to the next, in bytes: use dynamo_policy_candidate_at
  size_t candidate_count;
  const dynamo_policy_candidate* candidates;  // never none; by name, "worker-2" before "worker-10"
  dynamo_policy_text request_id;
  uint32_t prompt_tokens;
  uint32_t prompt_blocks;  // full ones
  int32_t priority;        // higher is more urgent
  double temperature;      // the request's own or --router-temperature
} dynamo_policy_question;

// Requires: index < question->candidate_count.
static inline const dynamo_policy_candidate* dynamo_policy_candidate_at(const dynamo_policy_question* question,
                                                                        size_t index) {
  return (const dynamo_policy_candidate*)((const char*)question->candidates + index * question->candidate_size);
}

// What the library is. All pointers are set.
typedef struct dynamo_policy_table {
  size_t size;           // of this struct, in bytes
  uint32_t abi_version;  // DYNAMO_POLICY_ABI_VERSION
  const char* name;      // 1 to 32 of A-Z a-z 0-9 _ . -; stands before each reason in metrics and /router/explain

  // A new policy. `config` is --router-policy-config, "" without one.
  // Called once to try the config when the program starts, that policy being destroyed at once; then once for each model served.
  // Returns: not NULL, what the other calls get as `policy`. On failure NULL, and why as a C string in `error`, which has `error_size`
  // bytes: the program does not start then; a model that comes later gets the mode's policy.
  void* (*create)(const char* config, char* error, size_t error_size);
  void (*destroy)(void* policy);

  // Returns: the index of the worker that takes the request, and in *reason a C string: few fixed words, for it becomes a label of
  // metrics. 64 bytes of it are kept, and 32 different ones for each model; those after them are counted as "other".
  // Or -1, without a reason: none of them now. The request then waits as it does when all workers are busy, and is asked about again when
  // another ends or a worker reports; those of no higher priority wait behind it (--router-queue-timeout, --router-max-queue).
  int64_t (*choose)(void* policy, const dynamo_policy_question* question, const char** reason);
} dynamo_policy_table;

// The one function that the library exports.
__attribute__((visibility("default"))) const dynamo_policy_table* dynamo_policy_v1(void);

#ifdef __cplusplus
}
#endif
// NOLINTEND
