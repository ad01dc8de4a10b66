// The options of a frontend and its router.
#pragma once

#include <chrono>
#include <string>

#include "apps/options.h"
#include "base/status.h"
#include "http/server.h"
#include "openai/service.h"
#include "router/settings.h"

namespace dynamo::apps {

struct FrontendFlags {
  http::ServerOptions http;
  uint32_t http_threads = 2;
  std::chrono::seconds drain_timeout{30};
  openai::ServiceOptions service;
  router::RouterOptions router;
  bool syncs_replicas = false;
  std::string policy_library;
  std::string policy_config;
  uint32_t block_size = 0;  // nobody reads it
};

OptionSet options_of(FrontendFlags* flags);
// Whether they contradict each other. Errors: kInvalid.
Status check(const FrontendFlags& flags);
// Loads the policy library, if the flags name one, into flags->router. Requires: signals are blocked. Errors:
// kNotFound, kInvalid.
Status load_policy_library(FrontendFlags* flags);

}  // namespace dynamo::apps
