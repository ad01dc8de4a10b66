// dynamo serve: hub, frontend and workers on this machine, each a process of its own under this one's supervision.
#include <fmt/format.h>

#include <algorithm>

#include "apps/command.h"
#include "apps/engine_flags.h"
#include "apps/frontend_flags.h"
#include "apps/supervisor.h"
#include "base/log.h"
#include "base/log_output.h"
#include "base/usable_cores.h"

namespace dynamo::apps {
namespace {

constexpr Duration kStartLimit = std::chrono::hours(1);  // loading a large model takes its time

struct ServeFlags {
  FrontendFlags frontend;
  EngineFlags engine;
  std::optional<uint32_t> workers;
  uint32_t prefill_workers = 0;
  uint32_t decode_workers = 0;
  std::vector<std::string> log_arguments;

  uint32_t aggregated() const { return workers.value_or(prefill_workers + decode_workers == 0 ? 1 : 0); }
  uint32_t all() const { return aggregated() + prefill_workers + decode_workers; }
};

std::vector<std::string> joined(std::vector<std::string> first, std::vector<std::string> second) {
  first.insert(first.end(), second.begin(), second.end());
  return first;
}

// What this process was told about its log, for its children.
std::vector<std::string> log_arguments(const CLI::App& app) {
  std::vector<std::string> arguments;
  if (const auto* filter = app.get_option("--log"); filter->count() > 0)
    arguments = {"--log", filter->as<std::string>()};
  if (log::is_json()) arguments.emplace_back("--log-json");
  return arguments;
}

// Returns: the frontend's URL; a request to that is answered.
Result<std::string> start_all(const ServeFlags& flags, Supervisor* supervisor) {
  const Time until = Clock::steady().now() + kStartLimit;
  const auto start = [&](ChildOptions options) {
    options.arguments = joined(std::move(options.arguments), flags.log_arguments);
    return supervisor->start(std::move(options));
  };
  TRY_STATUS(start({.name = "hub", .arguments = {"hub", "--port", "0"}}));
  TRY(const std::string port, supervisor->wait_until_ready(until));
  const std::string hub = "127.0.0.1:" + port;
  // Ended and started again it must be found where it was.
  supervisor->set_arguments("hub", joined({"hub", "--port", port}, flags.log_arguments));
  EngineFlags engine = flags.engine;
  if (engine.worker.backend.threads == 0) engine.worker.backend.threads = std::max(1U, usable_cores() / flags.all());
  const auto drain = std::to_string(flags.frontend.drain_timeout);
  const auto start_workers = [&](uint32_t count, const std::string& name, const std::string& mode) -> Status {
    for (uint32_t i = 1; i <= count; ++i) {
      // Said outright, so that no variable gives two of them one port, or an address that nothing listens on.
      const std::vector<std::string> arguments = {"worker",    "--hub",
                                                  hub,         "--host",
                                                  "127.0.0.1", "--announce-host",
                                                  "127.0.0.1", "--port",
                                                  "0",         "--system-port",
                                                  "0",         "--drain-timeout",
                                                  drain,       "--disaggregation-mode",
                                                  mode};
      TRY_STATUS(start({.name = fmt::format("{} {}", name, i), .arguments = joined(arguments, to_arguments(engine))}));
    }
    return {};
  };
  TRY_STATUS(start_workers(flags.aggregated(), "worker", "aggregated"));
  TRY_STATUS(start_workers(flags.decode_workers, "decode-worker", "decode"));
  TRY_STATUS(start_workers(flags.prefill_workers, "prefill-worker", "prefill"));
  TRY_STATUS(start({.name = "frontend",
                    .arguments = joined({"frontend", "--hub", hub}, to_arguments(flags.frontend)),
                    .stop_limit = std::chrono::seconds(flags.frontend.drain_timeout) + std::chrono::seconds(10)}));
  return supervisor->wait_until_ready(until);
}

int serve(ServeFlags flags) {
  Status status = complete(&flags.engine);
  if (status.is_ok() && flags.aggregated() + flags.decode_workers == 0)
    status = invalid("--prefill-workers compute prompts only: --decode-workers (or --workers) are needed to answer");
  const StopSignals signals;
  Supervisor supervisor(&signals);
  std::string url;
  if (status.is_ok()) {
    auto started = start_all(flags, &supervisor);
    status = started.status();
    if (started.is_ok()) url = std::move(started).value();
  }
  int signal = 0;
  if (status.is_ok()) {
    LOG(info, "all processes are ready", {"workers", flags.all()}, {"url", url});
    signal = supervisor.run();
  }
  if (status.is_ok() || status.code() == Code::kCancelled) {
    LOG(info, "stopping: running requests may finish", {"signal", signal},
        {"within", fmt::format("{} s", flags.frontend.drain_timeout)});
    supervisor.stop();
    LOG(info, "stopped");
    return 0;
  }
  supervisor.stop();
  return finish("serve", status);
}

}  // namespace

void add_serve_command(CLI::App* app, Run* run) {
  CLI::App* command = app->add_subcommand(
      "serve", "Serve a model on this machine: hub, frontend and workers, each in a process of its own");
  auto flags = std::make_shared<ServeFlags>();
  declare_frontend_flags(command, &flags->frontend);
  declare_engine_flags(command, &flags->engine);
  add_flag(
      command, "--workers", flags->workers,
      "Workers to run that do both prefill and decode, each with its own copy of the weights; 1 if no others are run")
      ->check(CLI::Range(0, 64));
  add_flag(command, "--prefill-workers", flags->prefill_workers,
           "Workers to run that compute prompts for decode workers")
      ->check(CLI::Range(0, 64));
  add_flag(command, "--decode-workers", flags->decode_workers,
           "Workers to run that answer, with the prompts' KV blocks from prefill workers over shared memory")
      ->check(CLI::Range(0, 64));
  command->callback([=] {
    *run = [=] {
      flags->log_arguments = log_arguments(*app);
      forget_variables(*app);
      forget_variables(*command);
      return serve(*flags);
    };
  });
}

}  // namespace dynamo::apps
