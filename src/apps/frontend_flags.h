// The flags of a frontend and its router.
#pragma once

#include <string>
#include <vector>

#include "apps/flags.h"
#include "base/status.h"
#include "http/server.h"
#include "openai/service.h"
#include "router/settings.h"

namespace dynamo::apps {

struct FrontendFlags {
  http::ServerOptions http;
  uint32_t http_threads = 2;
  openai::ServiceOptions service;
  uint32_t body_limit_mib = 45;
  uint32_t request_timeout = 600;
  uint32_t drain_timeout = 30;
  std::string router_mode = "round-robin";
  router::RouterOptions router;
  std::string policy_library;
  std::string policy_config;
  bool uses_events = true;
  bool syncs_replicas = false;
  double busy_threshold = 0;
  std::string max_local_prefill = "0";
  uint32_t block_size = 0;
  uint32_t index_mib = 1024;
  uint32_t queue_timeout = 30;
  uint32_t first_token_timeout = 120;
};

void declare_frontend_flags(CLI::App* command, FrontendFlags* flags);
// Puts what the flags say into flags->http, service and router, the policy library aside. Errors: kInvalid.
Status complete(FrontendFlags* flags);
// Loads the policy library, if the flags name one, into flags->router. Requires: signals are blocked. Errors: kNotFound, kInvalid.
Status load_policy_library(FrontendFlags* flags);
// The flags as another process's command line takes them: only those that differ from the defaults.
std::vector<std::string> to_arguments(const FrontendFlags& flags);

}  // namespace dynamo::apps
