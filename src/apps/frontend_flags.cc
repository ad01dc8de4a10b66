#include "apps/frontend_flags.h"

#include <fmt/format.h>

#include "router/policies/library.h"

namespace dynamo::apps {
namespace {

using router::Mode;

constexpr const char* kAuto = "auto";

OptionValue tokens_or_auto(std::optional<uint32_t>* value) {
  OptionValue tokens = number(value);
  OptionValue out;
  out.kind = "N|auto";
  out.stored = [=] { return std::vector{*value ? std::to_string(**value) : kAuto}; };
  out.store = [=, store = std::move(tokens.store)](const std::string& given) {
    if (given != kAuto)
      return store(given).is_ok() ? Status() : invalid(fmt::format("'{}': a number of tokens, or auto", given));
    value->reset();
    return Status();
  };
  return out;
}

// 0 stands for none.
OptionValue share_or_none(std::optional<double>* value) {
  const auto set = [=](double given) { *value = given > 0 ? std::optional(given) : std::nullopt; };
  return number<double>([=] { return std::optional(value->value_or(0)); }, set, 0, 1);
}

void add_http_options(FrontendFlags* flags, OptionSet* options) {
  options->add("--http-host", host(&flags->http.host), "Address to listen on");
  options->add("--http-port", number<uint16_t>(&flags->http.port), "Port to listen on; 0 takes any free one");
  options->add("--http-threads", number(&flags->http_threads, 1U, 256U), "Threads for connections");
  options->add("--http-body-limit", mebibytes(&flags->http.max_body_bytes, 1, 4096), "Largest request body in MiB");
  options->add("--request-timeout", seconds(&flags->service.request_timeout, 1, 86400),
               "Seconds a request may take in all");
  options->add("--drain-timeout", seconds(&flags->drain_timeout, 0, 86400),
               "Seconds that running requests get to finish after SIGINT or SIGTERM");
}

void add_choice_options(FrontendFlags* flags, OptionSet* options) {
  router::RouterOptions& router = flags->router;
  options->add(
      "--router-mode",
      one_of(&router.mode,
             {Mode::kKv, Mode::kRoundRobin, Mode::kRandom, Mode::kPowerOfTwo, Mode::kLeastLoaded, Mode::kDirect},
             &router::mode_name),
      "How a worker is chosen: kv, round-robin, random, power-of-two, least-loaded or direct");
  options->add(
      "--router-policy-library", text(&flags->policy_library),
      "Shared library with a policy of your own that takes the place of the mode's (docs/reference/routing.md)");
  options->add("--router-policy-config", text(&flags->policy_config), "Text that is given to that library's policy");
  options->add("--kv-overlap-score-weight", number(&router.settings.overlap_weight, 0.0, 100.0),
               "Mode kv: worth of a block to prefill against a block that decodes; 0 ignores the caches");
  options->add("--router-temperature", number(&router.settings.temperature, 0.0, 100.0),
               "Mode kv: 0 takes the lowest cost, more spreads requests");
  options->add("--kv-cache-block-size", number(&flags->block_size),
               "Accepted for other systems' command lines; workers say what theirs is");
  options
      ->add("--kv-events", on_or_off(&router.uses_events),
            "Mode kv: learn from workers what they hold (default), or guess it from what was sent to them")
      .off_by("--no-kv-events");
  options->add("--router-replica-sync", on_or_off(&flags->syncs_replicas),
               "Tell other frontends what is in flight, and count what they tell");
  options->add("--max-local-prefill-length", tokens_or_auto(&router.settings.max_local_prefill_length),
               "With prefill workers: a prompt of which at most so many tokens are not cached where it is decoded is "
               "computed there; auto: where that is better, by what waits at either worker and the rates that they "
               "measured");
}

void add_limit_options(router::RouterOptions* router, OptionSet* options) {
  options->add(
      "--busy-threshold", share_or_none(&router->settings.busy_threshold),
      "Share of its blocks in use above which a worker gets nothing new; when all are, requests wait. 0: never");
  options->add("--router-max-queue", number(&router->max_queue, 0U, 1U << 20),
               "Requests that wait while all workers are busy; more are refused with 503");
  options->add("--router-queue-timeout", seconds(&router->queue_timeout, 0, 86400),
               "Seconds that they wait before 503");
  options->add("--router-index-mib", mebibytes(&router->index_bytes, 1, 1 << 18),
               "Memory in MiB for knowing who holds which block, per model; about 30 bytes each. At the limit the "
               "coldest go");
  options->add("--migration-limit", number(&router->migration_limit, 0U, 1000U),
               "How often a request may go on to another worker when one fails it");
  options->add("--first-token-timeout", seconds(&router->silence_limit, 1, 86400),
               "Seconds of silence after which a worker is given up: neither tokens nor word that it gets on");
}

}  // namespace

OptionSet options_of(FrontendFlags* flags) {
  OptionSet options;
  add_http_options(flags, &options);
  add_choice_options(flags, &options);
  add_limit_options(&flags->router, &options);
  return options;
}

Status check(const FrontendFlags& flags) {
  if (!flags.policy_library.empty() && flags.router.mode == Mode::kDirect)
    return invalid("--router-policy-library needs another --router-mode than direct, which leaves nothing to choose");
  if (flags.policy_library.empty() && !flags.policy_config.empty())
    return invalid("--router-policy-config needs --router-policy-library");
  return {};
}

Status load_policy_library(FrontendFlags* flags) {
  if (flags->policy_library.empty()) return {};
  auto opened = router::PolicyLibrary::open(flags->policy_library, flags->policy_config);
  if (!opened.is_ok()) return opened.status().with("--router-policy-library");
  flags->router.library = std::move(opened).value();
  return {};
}

}  // namespace dynamo::apps
