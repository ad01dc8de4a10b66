// A conversation stays where it is: the next turn goes to the worker that holds the most of what was said so far, as long as
// that one has room; a new conversation to the lowest cost. No worker gets more than `limit` requests of this router at a time: when all
// have that many, requests wait in the router's line, where priorities count, and not in a worker's.
//
// Config: "limit=N,min_overlap=N", each optional: requests at most per worker (8), and blocks of the prompt that a worker must hold for the
// conversation to be its own (1): more than a system prompt that all conversations share has.
//
//   cc -shared -fPIC -I src -o libsticky_session.so examples/policies/sticky_session.c
//   dynamo frontend --router-mode kv --router-policy-library ./libsticky_session.so --router-policy-config limit=16,min_overlap=4
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "router/policy_abi.h"

struct sticky_session {
  uint64_t limit;
  uint64_t min_overlap;
};

// Reads "limit=16,min_overlap=4" into `session`. Returns: whether it could; if not, what was wrong is in `error`.
static int read_config(const char* config, struct sticky_session* session, char* error, size_t error_size) {
  while (*config != 0) {
    const size_t size = strcspn(config, ",");
    char* end = NULL;
    uint64_t* number = NULL;
    const char* digits = strchr(config, '=');
    if (strncmp(config, "limit=", 6) == 0) number = &session->limit;
    if (strncmp(config, "min_overlap=", 12) == 0) number = &session->min_overlap;
    if (number != NULL && digits[1] >= '0' && digits[1] <= '9') *number = strtoull(digits + 1, &end, 10);
    if (end != config + size || *number == 0) {
      snprintf(error, error_size, "'%.*s' is not limit=N or min_overlap=N with N > 0", (int)size, config);
      return 0;
    }
    config += size;
    if (*config == ',') ++config;
  }
  return 1;
}

static void* create(const char* config, char* error, size_t error_size) {
  struct sticky_session* session = malloc(sizeof *session);
  if (session == NULL) return NULL;
  session->limit = 8;
  session->min_overlap = 1;
  if (!read_config(config, session, error, error_size)) {
    free(session);
    return NULL;
  }
  return session;
}

static int64_t choose(void* policy, const dynamo_policy_question* question, const char** reason) {
  const struct sticky_session* session = policy;
  const dynamo_policy_candidate* longest = NULL;
  const dynamo_policy_candidate* cheapest = NULL;
  int64_t longest_at = -1;
  int64_t cheapest_at = -1;
  for (size_t i = 0; i < question->candidate_count; ++i) {
    const dynamo_policy_candidate* one = dynamo_policy_candidate_at(question, i);
    if (one->active_requests >= session->limit) continue;
    // Of workers that hold as much, the cheaper one.
    if (longest == NULL || one->overlap_blocks > longest->overlap_blocks ||
        (one->overlap_blocks == longest->overlap_blocks && one->cost < longest->cost)) {
      longest = one;
      longest_at = (int64_t)i;
    }
    if (cheapest == NULL || one->cost < cheapest->cost) {
      cheapest = one;
      cheapest_at = (int64_t)i;
    }
  }
  if (longest != NULL && longest->overlap_blocks >= session->min_overlap) {
    *reason = "holds_the_conversation";
    return longest_at;
  }
  *reason = "new_conversation";
  return cheapest_at;
}

const dynamo_policy_table* dynamo_policy_v1(void) {
  static const dynamo_policy_table table = {sizeof table, DYNAMO_POLICY_ABI_VERSION, "sticky_session", create, free,
                                            choose};
  return &table;
}
