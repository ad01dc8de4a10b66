// A policy library that does wrong what its config says, for the tests: "index=7", "reason=none", "reason=empty", "reason=binary",
// "reason=long", "reason=new" (another one each time), "create=once" (refuses every policy after the first), or "" for nothing wrong.
// Compiled with ABI_VERSION or SYMBOL it is one for another version, or one without the function that a policy library has.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "router/policy_abi.h"

#ifndef ABI_VERSION
#define ABI_VERSION DYNAMO_POLICY_ABI_VERSION
#endif
#ifndef SYMBOL
#define SYMBOL dynamo_policy_v1
#endif

struct misbehaving {
  char config[32];
  char reason[128];
  unsigned asked;
};

static void* create(const char* config, char* error, size_t error_size) {
  static int created = 0;
  if (strcmp(config, "create=once") == 0 && created++ > 0) {
    snprintf(error, error_size, "one is enough");
    return NULL;
  }
  if (strcmp(config, "create=never") == 0) return NULL;
  struct misbehaving* policy = calloc(1, sizeof *policy);
  snprintf(policy->config, sizeof policy->config, "%s", config);
  return policy;
}

static int64_t choose(void* opaque, const dynamo_policy_question* question, const char** reason) {
  struct misbehaving* policy = opaque;
  (void)question;
  ++policy->asked;
  if (strncmp(policy->config, "index=", 6) == 0) {
    *reason = "fine";
    return strtoll(policy->config + 6, NULL, 10);
  }
  strcpy(policy->reason, "fine");
  if (strcmp(policy->config, "reason=empty") == 0) policy->reason[0] = 0;
  if (strcmp(policy->config, "reason=binary") == 0) policy->reason[0] = '\n';
  if (strcmp(policy->config, "reason=long") == 0) memset(policy->reason, 'x', sizeof policy->reason - 1);
  if (strcmp(policy->config, "reason=new") == 0) sprintf(policy->reason, "reason_%u", policy->asked);
  if (strcmp(policy->config, "reason=none") != 0) *reason = policy->reason;
  return 0;
}

const dynamo_policy_table* SYMBOL(void);
const dynamo_policy_table* SYMBOL(void) {
  static const dynamo_policy_table table = {sizeof table, ABI_VERSION, "misbehaving", create, free, choose};
  return &table;
}
