#include "apps/frontend_flags.h"

#include <fmt/format.h>

#include "apps/host_flags.h"
#include "router/policies/library.h"

namespace dynamo::apps {
namespace {

constexpr const char* kAuto = "auto";

std::optional<uint32_t> tokens_of(const std::string& text) {
  uint32_t tokens = 0;
  return CLI::detail::lexical_cast(text, tokens) ? std::optional(tokens) : std::nullopt;
}

}  // namespace

void declare_frontend_flags(CLI::App* command, FrontendFlags* flags) {
  const auto option = [&](const std::string& name, auto& value, const std::string& meaning) {
    return add_flag(command, name, value, meaning);
  };
  option("--http-host", flags->http.host, "Address to listen on")->transform(host_value());
  option("--http-port", flags->http.port, "Port to listen on; 0 takes any free one")->check(CLI::Range(0, 65535));
  option("--http-threads", flags->http_threads, "Threads for connections")->check(CLI::Range(1, 256));
  option("--http-body-limit", flags->body_limit_mib, "Largest request body in MiB")->check(CLI::Range(1, 4096));
  option("--request-timeout", flags->request_timeout, "Seconds a request may take in all")->check(CLI::Range(1, 86400));
  option("--drain-timeout", flags->drain_timeout, "Seconds that running requests get to finish after SIGINT or SIGTERM")
      ->check(CLI::Range(0, 86400));
  option("--router-mode", flags->router_mode,
         "How a worker is chosen: kv, round-robin, random, power-of-two, least-loaded or direct")
      ->check(CLI::IsMember({"kv", "round-robin", "random", "power-of-two", "least-loaded", "direct"}));
  option("--router-policy-library", flags->policy_library,
         "Shared library with a policy of your own that takes the place of the mode's (docs/reference/routing.md)");
  option("--router-policy-config", flags->policy_config, "Text that is given to that library's policy");
  option("--kv-overlap-score-weight", flags->router.settings.overlap_weight,
         "Mode kv: worth of a block to prefill against a block that decodes; 0 ignores the caches")
      ->check(CLI::Range(0.0, 100.0));
  option("--router-temperature", flags->router.settings.temperature,
         "Mode kv: 0 takes the lowest cost, more spreads requests")
      ->check(CLI::Range(0.0, 100.0));
  option("--kv-cache-block-size", flags->block_size,
         "Accepted for other systems' command lines; workers say what theirs is");
  command
      ->add_flag("--kv-events,!--no-kv-events", flags->uses_events,
                 "Mode kv: learn from workers what they hold (default), or guess it from what was sent to them")
      ->envname("DYN_KV_EVENTS");
  command
      ->add_flag("--router-replica-sync", flags->syncs_replicas,
                 "Tell other frontends what is in flight, and count what they tell")
      ->envname("DYN_ROUTER_REPLICA_SYNC");
  option("--max-local-prefill-length", flags->max_local_prefill,
         "With prefill workers: a prompt of which at most so many tokens are not cached where it is decoded is "
         "computed there; auto: where that is better, by what waits at either worker and the rates that they measured")
      ->check(CLI::Validator(
          [](std::string& text) {
            const bool is_right = text == kAuto || tokens_of(text);
            return is_right ? std::string() : "'" + text + "': a number of tokens, or auto";
          },
          "TOKENS|auto"));
  option("--busy-threshold", flags->busy_threshold,
         "Share of its blocks in use above which a worker gets nothing new; when all are, requests wait. 0: never")
      ->check(CLI::Range(0.0, 1.0));
  option("--router-max-queue", flags->router.max_queue,
         "Requests that wait while all workers are busy; more are refused with 503")
      ->check(CLI::Range(0, 1 << 20));
  option("--router-queue-timeout", flags->queue_timeout, "Seconds that they wait before 503")
      ->check(CLI::Range(0, 86400));
  option("--router-index-mib", flags->index_mib,
         "Memory in MiB for knowing who holds which block, per model; about 30 bytes each. At the limit the coldest go")
      ->check(CLI::Range(1, 1 << 18));
  option("--migration-limit", flags->router.migration_limit,
         "How often a request may go on to another worker when one fails it")
      ->check(CLI::Range(0, 1000));
  option("--first-token-timeout", flags->first_token_timeout,
         "Seconds of silence after which a worker is given up: neither tokens nor word that it gets on")
      ->check(CLI::Range(1, 86400));
}

Status complete(FrontendFlags* flags) {
  flags->http.max_body_bytes = uint64_t{flags->body_limit_mib} << 20;
  flags->service.request_timeout = std::chrono::seconds(flags->request_timeout);
  const auto mode = router::parse_mode(flags->router_mode);
  CHECK(mode);
  flags->router.mode = *mode;
  if (!flags->policy_library.empty() && *mode == router::Mode::kDirect)
    return invalid("--router-policy-library needs another --router-mode than direct, which leaves nothing to choose");
  if (flags->policy_library.empty() && !flags->policy_config.empty())
    return invalid("--router-policy-config needs --router-policy-library");
  flags->router.uses_events = flags->uses_events;
  flags->router.settings.max_local_prefill_length = tokens_of(flags->max_local_prefill);  // none: auto
  if (flags->busy_threshold > 0) flags->router.settings.busy_threshold = flags->busy_threshold;
  flags->router.index_bytes = uint64_t{flags->index_mib} << 20;
  flags->router.queue_timeout = std::chrono::seconds(flags->queue_timeout);
  flags->router.silence_limit = std::chrono::seconds(flags->first_token_timeout);
  return {};
}

Status load_policy_library(FrontendFlags* flags) {
  if (flags->policy_library.empty()) return {};
  auto opened = router::PolicyLibrary::open(flags->policy_library, flags->policy_config);
  if (!opened.is_ok()) return opened.status().with("--router-policy-library");
  flags->router.library = std::move(opened).value();
  return {};
}

std::vector<std::string> to_arguments(const FrontendFlags& flags) {
  const FrontendFlags defaults;
  std::vector<std::string> arguments;
  const auto add = [&](const char* name, const auto& value, const auto& usual) {
    if (value == usual) return;
    arguments.emplace_back(name);
    arguments.push_back(fmt::format("{}", value));
  };
  add("--http-host", flags.http.host, defaults.http.host);
  add("--http-port", flags.http.port, defaults.http.port);
  add("--http-threads", flags.http_threads, defaults.http_threads);
  add("--http-body-limit", flags.body_limit_mib, defaults.body_limit_mib);
  add("--request-timeout", flags.request_timeout, defaults.request_timeout);
  add("--drain-timeout", flags.drain_timeout, defaults.drain_timeout);
  add("--router-mode", flags.router_mode, defaults.router_mode);
  add("--router-policy-library", flags.policy_library, defaults.policy_library);
  add("--router-policy-config", flags.policy_config, defaults.policy_config);
  add("--kv-overlap-score-weight", flags.router.settings.overlap_weight, defaults.router.settings.overlap_weight);
  add("--router-temperature", flags.router.settings.temperature, defaults.router.settings.temperature);
  add("--max-local-prefill-length", flags.max_local_prefill, defaults.max_local_prefill);
  add("--busy-threshold", flags.busy_threshold, defaults.busy_threshold);
  add("--router-max-queue", flags.router.max_queue, defaults.router.max_queue);
  add("--router-queue-timeout", flags.queue_timeout, defaults.queue_timeout);
  add("--router-index-mib", flags.index_mib, defaults.index_mib);
  add("--migration-limit", flags.router.migration_limit, defaults.router.migration_limit);
  add("--first-token-timeout", flags.first_token_timeout, defaults.first_token_timeout);
  if (!flags.uses_events) arguments.emplace_back("--no-kv-events");
  if (flags.syncs_replicas) arguments.emplace_back("--router-replica-sync");
  return arguments;
}

}  // namespace dynamo::apps
